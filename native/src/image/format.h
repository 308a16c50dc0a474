// format.h: where each field of an image lies. It mirrors
// docs/reference/index-format.md line for line; a test compares the two.

#ifndef CRLCHECK_IMAGE_FORMAT_H
#define CRLCHECK_IMAGE_FORMAT_H

#include "crlcheck_values.h"

// The superblock, at offset 0.
enum {
    SUPERBLOCK_MAGIC = 0,               // 8 bytes
    SUPERBLOCK_MAJOR_VERSION = 8,       // u16
    SUPERBLOCK_MINOR_VERSION = 10,      // u16
    SUPERBLOCK_FLAGS = 12,              // u32
    SUPERBLOCK_IMAGE_SIZE = 16,         // u64
    SUPERBLOCK_PAGE_TABLE_OFFSET = 24,  // u64
    SUPERBLOCK_NUM_ENTRIES = 32,        // u64
    SUPERBLOCK_HEADER_SIZE = 40,        // u32
    SUPERBLOCK_NUM_TABLES = 44,         // u32
    SUPERBLOCK_NUM_ISSUERS = 48,        // u32
    SUPERBLOCK_METADATA_OFFSET = 52,    // u32
    SUPERBLOCK_METADATA_SIZE = 56,      // u32
    SUPERBLOCK_ISSUERS_OFFSET = 60,     // u32
    SUPERBLOCK_SIZE = 64
};

// Flags.
enum { FLAG_ATTRIBUTES = 1, FLAG_TRAILER = 2 };

// A table descriptor; the first follows the superblock.
enum {
    TABLE_CERTIFICATE_ISSUER = 0,  // u32
    TABLE_SERIAL_LEN = 4,          // u8
    TABLE_KIND = 5,                // u8
    TABLE_KEY_BITS = 6,            // u16
    TABLE_NUM_ENTRIES = 8,         // u64
    TABLE_BUCKET_BITS = 16,        // u8
    TABLE_BLOCK_BITS = 17,         // u8
    TABLE_GAP_BITS = 18,           // u8, then 1 zero byte
    TABLE_LEAST_GAP = 20,          // u32
    TABLE_FIRST_KEY = 24,          // u64
    TABLE_SECTIONS = 32,           // 6 x (u64 offset, u64 size)
    TABLE_CONSTANT_VALUE = 128,    // 64 bytes
    TABLE_CONSTANT_MASK = 192,     // 64 bytes
    TABLE_SIZE = 256
};

enum {
    TABLE_KIND_BUCKET = 0,
    TABLE_KIND_BITMAP = 1,
    TABLE_KIND_GAPS = 2,
    TABLE_KIND_LINES = 3
};

// A table of lines has no gaps: the field is for its largest bucket.
enum { TABLE_LARGEST_BUCKET = TABLE_LEAST_GAP };

typedef enum table_section {
    SECTION_REMAINDERS,
    SECTION_HINTS,
    SECTION_DIRECTORY,
    SECTION_REASONS,
    SECTION_REVOCATION_DATES,
    SECTION_INVALIDITY_DATES,
    NUM_SECTIONS
} table_section;

// In a table of another kind than bucket the first three sections hold other things,
// but that lines have remainders too.
enum {
    SECTION_BITMAP = SECTION_REMAINDERS,
    SECTION_GROUPS = SECTION_HINTS,
    SECTION_RANKS = SECTION_DIRECTORY,
    SECTION_BLOCKS = SECTION_REMAINDERS,
    SECTION_GAPS = SECTION_HINTS,
    SECTION_LINES = SECTION_HINTS,
    SECTION_SPILL = SECTION_DIRECTORY
};

// The sections whose contents depend on the kind; attributes are in the others.
enum { NUM_KIND_SECTIONS = SECTION_REASONS };

// An entry of the group directory.
enum {
    GROUP_UPPER_BITS = 0,       // u32
    GROUP_FIRST_RANK = 4,       // u32
    GROUP_OFFSET = 8,           // u64
    GROUP_FIRST_CONTAINER = 16, // u32, then 4 zero bytes
    GROUP_SIZE = 24
};

// An entry of the rank directory.
enum {
    RANK_FIRST_RANK = 0,   // u32
    RANK_FIRST_COUNT = 4,  // u32
    RANK_SIZE = 8
};

// A row of the block directory.
enum {
    ROW_FIRST_BIT = 0,   // u32
    ROW_FIRST_RANK = 4,  // u32
    ROW_ENDS = 8,        // 28 x (u16 end)
    ROW_SIZE = 64
};

// A line, and a record of a spilled one.
enum {
    LINE_FIRST_RANK = 0,  // u32
    LINE_COUNTS = 4,      // 60 bytes
    LINE_SIZE = 64
};

enum {
    TRAILER_FROM_PAGES = 33,
    HEADER_SIZE_COPY = 8,
    HEADER_ALIGNMENT = 64,
    SECTION_ALIGNMENT = 8,
    BUCKETS_PER_COARSE_HINT = 4096,
    BUCKETS_PER_FINE_HINT = 16,
    NO_FINE_HINT = 65535,
    VALUES_PER_COUNT = 512,
    COUNTS_PER_BITSET = 128,
    DATES_PER_BLOCK = 128,
    DATE_BLOCK_SIZE = 16,  // the descriptor of one block of dates
    MAX_BUCKET_BITS = 30,
    BUCKETS_PER_LINE = 120,
    LARGEST_COUNT = 15,
    SPILLED_BIT = 31,
    SPILL_RECORD_SIZE = 484,
    BLOCKS_PER_ROW = 28,
    MAX_BLOCK_BITS = 32,
    MAX_GAP_BITS = 32
};

// No file is larger. Offsets within an image never wrap around.
#define LARGEST_IMAGE (UINT64_C(1) << 47)

// In the first rank of a line: that the counts of its buckets are in a record of their own.
static const uint32_t SPILLED_LINE = UINT32_C(1) << SPILLED_BIT;

static const uint8_t image_magic[8] = {0x89, 'C', 'R', 'L', 'X', 0x0d, 0x0a, 0x1a};

// round_up rounds to a multiple of `alignment`, a power of two.
static inline uint64_t round_up(uint64_t value, uint64_t alignment) {
    return (value + alignment - 1) & ~(alignment - 1);
}

// bytes_of_bits is the size of a section that holds a bit stream.
static inline uint64_t bytes_of_bits(uint64_t num_bits) {
    return round_up((num_bits + 7) / 8, SECTION_ALIGNMENT);
}

// directory_bits is the length of the unary bucket directory.
static inline uint64_t directory_bits(uint64_t num_entries, unsigned bucket_bits) {
    return num_entries + (UINT64_C(1) << bucket_bits);
}

static inline uint64_t num_coarse_hints(unsigned bucket_bits) {
    return ((UINT64_C(1) << bucket_bits) + BUCKETS_PER_COARSE_HINT - 1) /
           BUCKETS_PER_COARSE_HINT;
}

static inline uint64_t num_fine_hints(unsigned bucket_bits) {
    return ((UINT64_C(1) << bucket_bits) + BUCKETS_PER_FINE_HINT - 1) /
           BUCKETS_PER_FINE_HINT;
}

// hints_size is the size of the section: coarse hints, fine ones, the largest bucket.
static inline uint64_t hints_size(unsigned bucket_bits) {
    return round_up(num_coarse_hints(bucket_bits) * 4 + num_fine_hints(bucket_bits) * 2,
                    SECTION_ALIGNMENT) +
           8;
}

static inline uint64_t num_digest_blocks(uint64_t num_pages) {
    return (num_pages + CRLCHECK_DIGESTS_PER_BLOCK - 1) / CRLCHECK_DIGESTS_PER_BLOCK;
}

// size_behind_body is the size of the page table, the trailer and the digest.
static inline uint64_t size_behind_body(uint64_t num_pages, uint64_t header_size,
                                        bool has_trailer) {
    uint64_t size = (num_pages + 1) * CRLCHECK_DIGEST_SIZE;
    if (has_trailer) {
        size += num_digest_blocks(num_pages) * CRLCHECK_DIGEST_SIZE + header_size +
                HEADER_SIZE_COPY;
    }
    return size;
}

// num_lines is the number of lines of a table that has any.
static inline uint64_t num_lines(unsigned bucket_bits) {
    return ((UINT64_C(1) << bucket_bits) + BUCKETS_PER_LINE - 1) / BUCKETS_PER_LINE;
}

static inline uint64_t num_date_blocks(uint64_t num_entries) {
    return (num_entries + DATES_PER_BLOCK - 1) / DATES_PER_BLOCK;
}

#endif
