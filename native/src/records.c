// records.c: blocks of records and their reuse.

#include "records.h"

#include <stdlib.h>

// A pile starts with a small block: an indirect CRL may have thousands of tables
// of a few entries each.
static record_block *new_block(record_pool *pool, bool small) {
    if (!small && pool->free_blocks != NULL) {
        record_block *block = pool->free_blocks;
        pool->free_blocks = block->next;
        block->next = NULL;
        block->used = 0;
        return block;
    }
    size_t size = small ? SMALL_BLOCK_SIZE : RECORD_BLOCK_SIZE;
    record_block *block = malloc(size);
    if (block != NULL) {
        *block = (record_block){.capacity = (uint32_t)(size - sizeof *block)};
        pool->memory += size;
    }
    return block;
}

static void give_back(record_pool *pool, record_block *block) {
    if (block->capacity < RECORD_BLOCK_SIZE - sizeof *block) {
        pool->memory -= SMALL_BLOCK_SIZE;
        free(block);
        return;
    }
    block->next = pool->free_blocks;
    pool->free_blocks = block;
}

uint8_t *record_pile_add(record_pile *pile, record_pool *pool, size_t record_len) {
    record_block *last = pile->last;
    if (last == NULL || last->capacity - last->used < record_len) {
        record_block *block = new_block(pool, last == NULL);
        if (block == NULL) {
            return NULL;
        }
        if (last == NULL) {
            pile->first = block;
        } else {
            last->next = block;
        }
        pile->last = block;
        last = block;
    }
    uint8_t *record = last->data + last->used;
    last->used += (uint32_t)record_len;
    pile->num_records++;
    return record;
}

void record_pile_drop_first(record_pile *pile, record_pool *pool) {
    record_block *block = pile->first;
    pile->first = block->next;
    if (pile->first == NULL) {
        pile->last = NULL;
    }
    give_back(pool, block);
}

void record_pile_clear(record_pile *pile, record_pool *pool) {
    while (pile->first != NULL) {
        record_pile_drop_first(pile, pool);
    }
    pile->num_records = 0;
}

void record_pool_clear(record_pool *pool) {
    while (pool->free_blocks != NULL) {
        record_block *block = pool->free_blocks;
        pool->free_blocks = block->next;
        free(block);
    }
}
