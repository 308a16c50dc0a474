// records.c: hands out blocks and takes them back.

#define _DEFAULT_SOURCE  // for madvise

#include "builder/records.h"

#include <stdlib.h>
#ifdef __linux__
#include <sys/mman.h>
#endif

// The first arenas are small, for small lists. Then each is one huge page where the
// system has them: the first touch of memory costs 9 ns an entry in pages of 4 KiB, and
// 3 ns in huge ones.
enum {
    SMALL_ARENA_SIZE = 1 << 16,
    LARGE_ARENA_SIZE = 1 << 21,
    SMALL_ARENAS_UP_TO = 1 << 19
};

struct record_arena {
    record_arena *next;
    uint8_t *blocks;
};

static void add_free(record_block **list, void *memory, size_t size, size_t block_size) {
    uint8_t *octets = memory;
    for (size_t at = 0; at < size; at += block_size) {
        record_block *block = (record_block *)(void *)(octets + at);
        block->next = *list;
        *list = block;
    }
}

static bool add_arena(record_pool *pool) {
    bool small = pool->memory < SMALL_ARENAS_UP_TO;
    size_t size = small ? SMALL_ARENA_SIZE : LARGE_ARENA_SIZE;
    record_arena *arena = malloc(sizeof *arena);
    void *blocks = aligned_alloc(small ? LARGE_BLOCK_SIZE : LARGE_ARENA_SIZE, size);
    if (arena == NULL || blocks == NULL) {
        free(arena);
        free(blocks);
        return false;
    }
#ifdef MADV_HUGEPAGE
    if (!small) {
        (void)madvise(blocks, size, MADV_HUGEPAGE);  // it may fail: this is only faster
    }
#endif
    *arena = (record_arena){pool->arenas, blocks};
    pool->arenas = arena;
    pool->memory += size;
    add_free(&pool->free_large, blocks, size, LARGE_BLOCK_SIZE);
    return true;
}

static record_block *take_block(record_pool *pool, size_t block_size) {
    bool small = block_size == SMALL_BLOCK_SIZE;
    if (small && pool->free_small == NULL) {
        void *block = take_block(pool, LARGE_BLOCK_SIZE);
        if (block != NULL) {
            add_free(&pool->free_small, block, LARGE_BLOCK_SIZE, SMALL_BLOCK_SIZE);
        }
    }
    if (!small && pool->free_large == NULL) {
        add_arena(pool);
    }
    record_block **list = small ? &pool->free_small : &pool->free_large;
    record_block *block = *list;
    if (block != NULL) {
        *list = block->next;
    }
    return block;
}

void record_pool_clear(record_pool *pool) {
    while (pool->arenas != NULL) {
        record_arena *arena = pool->arenas;
        pool->arenas = arena->next;
        free(arena->blocks);
        free(arena);
    }
    *pool = (record_pool){0};
}

bool record_piles_init(record_piles *piles, size_t num_piles, size_t block_size) {
    *piles = (record_piles){.num_piles = num_piles, .block_size = block_size};
    piles->next = calloc(num_piles, sizeof *piles->next);
    piles->first = calloc(num_piles, sizeof *piles->first);
    piles->num_records = calloc(num_piles, sizeof *piles->num_records);
    if (piles->next == NULL || piles->first == NULL || piles->num_records == NULL) {
        free(piles->next);
        free(piles->first);
        free(piles->num_records);
        *piles = (record_piles){0};
        return false;
    }
    return true;
}

void record_piles_clear(record_piles *piles, record_pool *pool) {
    for (size_t i = 0; i < piles->num_piles; i++) {
        while (piles->first[i] != NULL) {
            record_piles_drop_first(piles, pool, i);
        }
    }
    free(piles->next);
    free(piles->first);
    free(piles->num_records);
    *piles = (record_piles){0};
}

// last_block is where the next record of a pile goes; a full block ends at `next`.
static record_block *last_block(const record_piles *piles, size_t pile) {
    uintptr_t inside = (uintptr_t)piles->next[pile] - 1;
    return (record_block *)(inside & ~(uintptr_t)(piles->block_size - 1));
}

static void note_used(record_piles *piles, size_t pile) {
    if (piles->next[pile] != NULL) {
        record_block *block = last_block(piles, pile);
        block->used = (uint64_t)(piles->next[pile] - block->data);
    }
}

uint8_t *record_piles_grow(record_piles *piles, record_pool *pool, size_t pile) {
    record_block *block = take_block(pool, piles->block_size);
    if (block == NULL) {
        return NULL;
    }
    note_used(piles, pile);
    block->next = NULL;
    block->used = 0;
    if (piles->next[pile] == NULL) {
        piles->first[pile] = block;
    } else {
        last_block(piles, pile)->next = block;
    }
    return block->data;
}

void record_piles_seal(record_piles *piles, size_t record_len) {
    for (size_t i = 0; i < piles->num_piles; i++) {
        uint64_t size = 0;
        note_used(piles, i);
        for (const record_block *block = piles->first[i]; block != NULL;
             block = block->next) {
            size += block->used;
        }
        piles->num_records[i] = size / record_len;
    }
}

void record_piles_drop_first(record_piles *piles, record_pool *pool, size_t pile) {
    record_block *block = piles->first[pile];
    piles->first[pile] = block->next;
    if (block->next == NULL) {
        piles->next[pile] = NULL;
    }
    bool small = piles->block_size == SMALL_BLOCK_SIZE;
    record_block **list = small ? &pool->free_small : &pool->free_large;
    block->next = *list;
    *list = block;
}
