// values.h: the values of a column.

#ifndef CRLCHECK_COLUMNS_VALUES_H
#define CRLCHECK_COLUMNS_VALUES_H

#include <string.h>

#include "crlcheck_columns.h"

typedef struct text {
    const uint8_t *start;
    size_t len;
} text;

static inline bool is_valid(const uint8_t *validity, uint64_t row) {
    return validity == NULL || (validity[row / 8] >> (row % 8) & 1) != 0;
}

// offset_at reads an offset, which may lie at any address.
static inline uint64_t offset_at(const crlcheck_column *column, uint64_t row) {
    if (column->offset_size == 4) {
        int32_t offset;
        memcpy(&offset, column->offsets + row * 4, 4);
        return (uint64_t)offset;
    }
    int64_t offset;
    memcpy(&offset, column->offsets + row * 8, 8);
    return (uint64_t)offset;
}

// value_at is empty where a value does not lie in the data.
static inline text value_at(const crlcheck_column *column, uint64_t row) {
    uint64_t start = row * column->width;
    uint64_t end = start + column->width;
    if (column->offsets != NULL) {
        start = offset_at(column, row);
        end = offset_at(column, row + 1);
    }
    if (start > end || end > column->data_len) {
        return (text){column->data, 0};
    }
    return (text){column->data + start, (size_t)(end - start)};
}

#endif
