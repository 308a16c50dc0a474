// records.h: the builder's growing pile of fixed-size records.
//
// Records lie in small blocks that are handed from pile to pile, so that
// redistributing a table over partitions needs no second copy of its keys.

#ifndef CRLCHECK_RECORDS_H
#define CRLCHECK_RECORDS_H

#include "crlcheck.h"

enum { RECORD_BLOCK_SIZE = 4096, SMALL_BLOCK_SIZE = 256 };

typedef struct record_block {
    struct record_block *next;
    uint32_t capacity;  // octets of `data`
    uint32_t used;
    uint8_t data[];
} record_block;

// record_pool keeps blocks for reuse and counts what it has given out.
typedef struct record_pool {
    record_block *free_blocks;
    uint64_t memory;
} record_pool;

// record_pile is a list of blocks, in order of arrival. Zeroed, it is empty.
typedef struct record_pile {
    record_block *first;
    record_block *last;
    uint64_t num_records;
} record_pile;

// record_pile_add makes room for one record of `record_len` octets and returns
// where it goes, or NULL without memory.
uint8_t *record_pile_add(record_pile *pile, record_pool *pool, size_t record_len);

// record_pile_drop_first gives the first block back to the pool.
void record_pile_drop_first(record_pile *pile, record_pool *pool);

void record_pile_clear(record_pile *pile, record_pool *pool);
void record_pool_clear(record_pool *pool);

// record_cursor walks a pile.
typedef struct record_cursor {
    record_block *block;
    uint32_t offset;
} record_cursor;

static inline record_cursor record_pile_start(const record_pile *pile) {
    return (record_cursor){pile->first, 0};
}

// record_next returns the next record, or NULL at the end.
static inline uint8_t *record_next(record_cursor *cursor, size_t record_len) {
    while (cursor->block != NULL && cursor->offset >= cursor->block->used) {
        *cursor = (record_cursor){cursor->block->next, 0};
    }
    if (cursor->block == NULL) {
        return NULL;
    }
    uint8_t *record = cursor->block->data + cursor->offset;
    cursor->offset += (uint32_t)record_len;
    return record;
}

#endif
