// bucket_writer.c: packs remainders, directory and hints.

#include "builder/bucket_writer.h"

#include <stdlib.h>

#include "base/bits.h"
#include "image/format.h"

// ---- sizes ----

// It is the number that takes fewest bytes: a further bit saves one bit an entry, and
// doubles directory and hints, which take two bits a bucket.
unsigned bucket_bits_of(const builder_table *table) {
    unsigned bucket_bits = 0;
    while (bucket_bits < table->shape.low_bits && bucket_bits < MAX_BUCKET_BITS &&
           table->num_records > UINT64_C(2) << bucket_bits) {
        bucket_bits++;
    }
    return bucket_bits;
}

static uint64_t bits_of_remainders(const builder_table *table) {
    return table->num_records * (table->shape.key_bits - bucket_bits_of(table));
}

uint64_t bucket_section_size(const builder_table *table, unsigned section) {
    unsigned bucket_bits = bucket_bits_of(table);
    switch (section) {
    case SECTION_REMAINDERS:
        return bytes_of_bits(bits_of_remainders(table));
    case SECTION_HINTS:
        return hints_size(bucket_bits);
    default:
        return bytes_of_bits(directory_bits(table->num_records, bucket_bits));
    }
}

uint64_t bucket_table_size(const builder_table *table) {
    uint64_t size = 0;
    for (unsigned i = 0; i < NUM_KIND_SECTIONS; i++) {
        size += bucket_section_size(table, i);
    }
    return size;
}

// ---- remainders ----

bool bucket_writer_start(bucket_writer *writer, const builder_table *table) {
    uint64_t directory_size = bucket_section_size(table, SECTION_DIRECTORY);
    *writer = (bucket_writer){.packing = true,
                              .bucket_bits = bucket_bits_of(table),
                              .cursor = first_entry(table),
                              .directory = calloc(1, (size_t)directory_size)};
    return writer->directory != NULL;
}

// pack_run adds entries to directory and remainders. Fields are copied to variables: the
// bytes written could alias them, and they would be loaded anew for each entry (21 ns an
// entry with attributes against 12).
static void pack_run(bucket_writer *writer, const builder_table *table, record_run run) {
    const key_shape *shape = &table->shape;
    unsigned num_high = shape->num_high;
    unsigned left = shape->low_bits - writer->bucket_bits;
    unsigned top_bits = shape->key_bits - 64 * num_high;
    uint64_t low_mask = low_bits(shape->low_bits);
    uint64_t left_mask = low_bits(left);
    uint64_t top_mask = shape->top_mask;
    size_t record_len = table->record_len;
    uint8_t *directory = writer->directory;
    uint64_t rank = writer->rank;
    bit_writer bits = writer->bits;
    const uint8_t *record = run.records;
    for (size_t i = 0; i < run.num_records; i++) {
        uint64_t low = load_le64(record) & low_mask;
        uint64_t bit = rank + i + (left == 64 ? 0 : low >> left);
        directory[bit / 8] |= (uint8_t)(1U << (bit % 8));
        bit_writer_put(&bits, low & left_mask, left);
        for (unsigned j = 1; j < num_high; j++) {
            bit_writer_put(&bits, load_le64(record + 8 * j), 64);
        }
        if (num_high > 0) {
            bit_writer_put(&bits, load_le64(record + 8 * num_high) & top_mask, top_bits);
        }
        record += record_len;
    }
    writer->rank = rank + run.num_records;
    writer->bits = bits;
}

// pad_remainders fills the last word up with zeros.
static void pad_remainders(bucket_writer *writer, const builder_table *table) {
    uint64_t padding =
        bucket_section_size(table, SECTION_REMAINDERS) - bits_of_remainders(table) / 8;
    for (uint64_t i = 0; i < padding; i++) {
        *writer->bits.out++ = writer->bits.partial;
        writer->bits.partial = 0;
    }
}

bool bucket_writer_pack(size_t *out_len, bucket_writer *writer,
                        attribute_streams *attributes, const builder_table *table,
                        uint8_t *out, size_t capacity) {
    bit_writer *bits = &writer->bits;
    bits->out = out;
    while (capacity - (size_t)(bits->out - out) >= LARGEST_ENTRY) {
        size_t room = (capacity - (size_t)(bits->out - out)) / LARGEST_ENTRY;
        record_run run = next_run(&writer->cursor, room);
        if (run.num_records == 0) {
            pad_remainders(writer, table);
            writer->packing = false;
            break;
        }
        pack_run(writer, table, run);
        if (table->attributes &&
            !attributes_add(attributes, table, run.records, run.num_records)) {
            return false;
        }
    }
    *out_len = (size_t)(bits->out - out);
    return true;
}

// ---- hints ----

// longest_run counts the most ones in a row in `word`.
static unsigned longest_run(uint64_t word) {
    unsigned length = 0;
    for (; word != 0; word &= word << 1) {
        length++;
    }
    return length;
}

// largest_bucket finds the most ones in a row in the directory.
static uint64_t largest_bucket(const uint8_t *directory, uint64_t size) {
    uint64_t run = 0;  // of ones that reach the end of the words so far
    uint64_t longest = 0;
    for (uint64_t i = 0; i < size; i += 8) {
        uint64_t word = load_le64(directory + i);
        if (word == UINT64_MAX) {
            run += 64;
            continue;
        }
        run += (unsigned)__builtin_ctzll(~word);
        longest = run > longest ? run : longest;
        uint64_t inside = longest_run(word);
        longest = inside > longest ? inside : longest;
        run = (unsigned)__builtin_clzll(~word);
    }
    return run > longest ? run : longest;
}

// put_hint writes at which bit the bucket of a fine hint starts, and also its coarse hint
// if it has one.
static void put_hint(uint8_t *coarse_hints, uint8_t *fine_hints, uint64_t number,
                     uint64_t bit) {
    uint64_t bucket = number * BUCKETS_PER_FINE_HINT;
    uint8_t *coarse = coarse_hints + bucket / BUCKETS_PER_COARSE_HINT * 4;
    if (bucket % BUCKETS_PER_COARSE_HINT == 0) {
        store_le32(coarse, (uint32_t)bit);
    }
    uint64_t offset = bit - load_le32(coarse);
    store_le16(fine_hints + 2 * number,
               (uint16_t)(offset < NO_FINE_HINT ? offset : NO_FINE_HINT));
}

// write_hints writes where every sixteenth bucket starts, behind the zero that ends the
// bucket before, and how large the largest bucket is.
static void write_hints(uint8_t *out, const bucket_writer *writer,
                        const builder_table *table) {
    const uint8_t *directory = writer->directory;
    uint8_t *fine_hints = out + 4 * num_coarse_hints(writer->bucket_bits);
    uint64_t num_hints = num_fine_hints(writer->bucket_bits);
    uint64_t zeros_seen = 0;
    uint64_t hint = 0;
    put_hint(out, fine_hints, hint++, 0);
    for (uint64_t base = 0; hint < num_hints; base += 64) {
        uint64_t zeros = ~load_le64(directory + base / 8);
        uint64_t counts = count_bits(zeros);
        uint64_t num_zeros = counts >> 56;
        while (hint < num_hints &&
               zeros_seen + num_zeros >= hint * BUCKETS_PER_FINE_HINT) {
            uint64_t number = hint * BUCKETS_PER_FINE_HINT - zeros_seen - 1;
            uint64_t bit = base + select_bit(zeros, counts, (unsigned)number) + 1;
            put_hint(out, fine_hints, hint++, bit);
        }
        zeros_seen += num_zeros;
    }
    store_le64(out + hints_size(writer->bucket_bits) - 8,
               largest_bucket(directory, bucket_section_size(table, SECTION_DIRECTORY)));
}

uint8_t *bucket_writer_take_section(bucket_writer *writer, const builder_table *table,
                                    unsigned section) {
    uint8_t *taken = writer->directory;
    if (section == SECTION_DIRECTORY) {
        writer->directory = NULL;
        return taken;
    }
    taken = calloc(1, (size_t)bucket_section_size(table, SECTION_HINTS));
    if (taken != NULL) {
        write_hints(taken, writer, table);
    }
    return taken;
}

void bucket_writer_clear(bucket_writer *writer) {
    free(writer->directory);
    *writer = (bucket_writer){0};
}
