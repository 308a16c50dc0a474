// records.h: keeps the builder's records, all of one size, in piles that grow.
//
// Records lie in small blocks that go from pile to pile, so that spreading a table over
// partitions needs no second copy of its keys. A block is aligned to its size, so the
// place of the next record also says where the block ends. To add a record touches that
// one pointer and the record: with hundreds of piles that are filled at random, this
// keeps them in the cache.

#ifndef CRLCHECK_BUILDER_RECORDS_H
#define CRLCHECK_BUILDER_RECORDS_H

#include <string.h>

#include "crlcheck_values.h"

// Piles of a table that is still small have small blocks: an indirect CRL may have
// thousands of tables of a few entries each. Behind its records a block has
// RECORD_SLACK bytes, so that a record may be stored in whole words.
enum { SMALL_BLOCK_SIZE = 512, LARGE_BLOCK_SIZE = 4096, RECORD_SLACK = 8 };

typedef struct record_block {
    struct record_block *next;
    uint64_t used;  // bytes of records; of a pile's last block only once sealed
    uint8_t data[];
} record_block;

typedef struct record_arena record_arena;

// record_pool owns all blocks and keeps free ones for reuse. Zeroed, it is empty.
typedef struct record_pool {
    record_block *free_small;
    record_block *free_large;
    record_arena *arenas;
    uint64_t memory;  // bytes of all blocks
} record_pool;

// record_piles is an array of piles, in each of which records lie in order of
// arrival.
typedef struct record_piles {
    uint8_t **next;        // where the next record of each pile goes, or NULL
    record_block **first;
    uint64_t *num_records;  // set by sealing
    size_t num_piles;
    size_t block_size;
} record_piles;

bool record_piles_init(record_piles *piles, size_t num_piles, size_t block_size);

// record_piles_clear gives the blocks back to the pool.
void record_piles_clear(record_piles *piles, record_pool *pool);

void record_pool_clear(record_pool *pool);

// record_piles_seal counts the records and makes the piles readable, until the
// next record is added.
void record_piles_seal(record_piles *piles, size_t record_len);

// record_piles_drop_first gives the first block of a sealed pile back.
void record_piles_drop_first(record_piles *piles, record_pool *pool, size_t pile);

// record_piles_grow starts a new block and returns where its first record goes,
// or NULL without memory.
uint8_t *record_piles_grow(record_piles *piles, record_pool *pool, size_t pile);

// record_piles_add makes room for one record of `record_len` bytes and returns
// where it goes, or NULL without memory.
static inline uint8_t *record_piles_add(record_piles *piles, record_pool *pool,
                                        size_t pile, size_t record_len) {
    uint8_t *next = piles->next[pile];
    size_t in_block = (uintptr_t)next & (piles->block_size - 1);
    if (in_block == 0 || in_block + record_len + RECORD_SLACK > piles->block_size) {
        next = record_piles_grow(piles, pool, pile);
        if (next == NULL) {
            return NULL;
        }
    }
    piles->next[pile] = next + record_len;
    return next;
}

// record_copy copies a record in whole words, so up to seven bytes more: records
// that are copied one after the other, and the slack behind them, allow for that.
static inline void record_copy(uint8_t *out, const uint8_t *record, size_t record_len) {
    for (size_t at = 0; at < record_len; at += 8) {
        memcpy(out + at, record + at, 8);
    }
}

// record_cursor walks a sealed pile.
typedef struct record_cursor {
    record_block *block;
    uint64_t offset;
} record_cursor;

static inline record_cursor record_piles_start(const record_piles *piles, size_t pile) {
    return (record_cursor){piles->first[pile], 0};
}

// record_block_fetch asks for the first lines of a block that is read soon. Blocks lie
// anywhere, so the processor finds out late that one is read to its end.
static inline void record_block_fetch(const record_block *block) {
    enum { CACHE_LINE = 64, NUM_LINES = 8 };
    if (block != NULL) {
        for (size_t i = 0; i < NUM_LINES; i++) {
            __builtin_prefetch((const uint8_t *)block + i * CACHE_LINE);
        }
    }
}

// record_cursor_settle moves past blocks that are used up and returns false at the end.
static inline bool record_cursor_settle(record_cursor *cursor) {
    while (cursor->block != NULL && cursor->offset >= cursor->block->used) {
        *cursor = (record_cursor){cursor->block->next, 0};
    }
    return cursor->block != NULL;
}

// record_next returns the next record, or NULL at the end.
static inline uint8_t *record_next(record_cursor *cursor, size_t record_len) {
    if (!record_cursor_settle(cursor)) {
        return NULL;
    }
    uint8_t *record = cursor->block->data + cursor->offset;
    cursor->offset += record_len;
    return record;
}

// record_next_run returns the next records that lie end to end, at most `max_records`,
// or NULL at the end.
static inline uint8_t *record_next_run(size_t *out_num_records, record_cursor *cursor,
                                       size_t record_len, uint64_t max_records) {
    *out_num_records = 0;
    if (!record_cursor_settle(cursor)) {
        return NULL;
    }
    if (cursor->offset == 0) {
        record_block_fetch(cursor->block->next);
    }
    uint8_t *records = cursor->block->data + cursor->offset;
    uint64_t in_block = (cursor->block->used - cursor->offset) / record_len;
    *out_num_records = (size_t)(in_block < max_records ? in_block : max_records);
    cursor->offset += *out_num_records * record_len;
    return records;
}

#endif
