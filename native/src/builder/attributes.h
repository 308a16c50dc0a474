// attributes.h: gathers reason codes and dates by rank while a table is written. They
// become sections of their own behind it.

#ifndef CRLCHECK_BUILDER_ATTRIBUTES_H
#define CRLCHECK_BUILDER_ATTRIBUTES_H

#include "builder/table.h"
#include "image/format.h"

// date_stream packs dates in blocks. Zeroed, it is empty.
typedef struct date_stream {
    // Of the block in progress: seconds since FIRST_DATE plus one, or 0 for no date.
    uint64_t pending[DATES_PER_BLOCK];
    bool present;           // any date so far
    uint64_t num_blocks;    // so far
    uint8_t *section;       // descriptors of all blocks, then the payload so far
    uint64_t descriptors_size;
    uint64_t payload_size;
    uint64_t capacity;
} date_stream;

typedef struct attribute_streams {
    uint8_t *reasons;  // four bits each, allocated for all
    bool has_reasons;
    uint64_t num_entries;
    size_t num_pending;  // in each stream of dates
    date_stream revocation_dates;
    date_stream invalidity_dates;
} attribute_streams;

// attributes_start makes room for the attributes of a table.
bool attributes_start(attribute_streams *streams, const builder_table *table);

// attributes_add takes the attributes of the next entries, whose records lie end to
// end.
bool attributes_add(attribute_streams *streams, const builder_table *table,
                    const uint8_t *records, size_t num_records);

// attributes_finish packs the last blocks.
bool attributes_finish(attribute_streams *streams, const builder_table *table);

// attributes_section_size is 0 where there is nothing to store.
uint64_t attributes_section_size(const attribute_streams *streams, unsigned section);

// attributes_take_section returns a section of that size, which the caller frees.
uint8_t *attributes_take_section(attribute_streams *streams, unsigned section);

void attributes_clear(attribute_streams *streams);

#endif
