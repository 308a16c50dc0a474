// image_writer.c: hands an image over piece by piece, so that it is never in
// memory as a whole. docs/index-format.md describes what is written.

#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "builder/table.h"
#include "builder/image_writer.h"

// The room that one entry may need in the caller's buffer.
enum { LARGEST_ENTRY = CRLCHECK_MAX_SERIAL + 16 };

void image_writer_free(image_writer *writer) {
    if (writer != NULL) {
        free(writer->header);
        free(writer->piece);
        free(writer->directory);
        attributes_clear(&writer->attributes);
        free(writer);
    }
}

// place_section enters where a section lies, now that its size is known.
static void place_section(image_writer *writer, builder_table *table, unsigned section,
                          uint64_t size) {
    table->sections[section] = (section_span){size > 0 ? writer->offset : 0, size};
    writer->offset += size;
}

static bool start_remainders(image_writer *writer, const builder_table *table) {
    writer->packing = true;
    writer->cursor = first_entry(table);
    writer->rank = 0;
    writer->packer = (bit_packer){0};
    writer->directory = calloc(1, (size_t)directory_size(table));
    return writer->directory != NULL && attributes_start(&writer->attributes, table);
}

// pack_run adds entries to directory and remainders. What the loop needs is in
// variables of its own: the octets written could alias anything else, which would then
// be loaded anew for each entry (21 ns an entry with attributes against 12).
static void pack_run(image_writer *writer, const builder_table *table, record_run run) {
    const key_shape *shape = &table->shape;
    unsigned num_high = shape->num_high;
    unsigned left = shape->low_bits - table->bucket_bits;
    unsigned top_bits = shape->key_bits - 64 * num_high;
    uint64_t low_mask = low_bits(shape->low_bits);
    uint64_t left_mask = low_bits(left);
    uint64_t top_mask = shape->top_mask;
    size_t record_len = table->record_len;
    uint8_t *directory = writer->directory;
    uint64_t rank = writer->rank;
    bit_packer packer = writer->packer;
    const uint8_t *record = run.records;
    for (size_t i = 0; i < run.num_records; i++) {
        uint64_t low = load_le64(record) & low_mask;
        uint64_t bit = rank + i + (left == 64 ? 0 : low >> left);
        directory[bit / 8] |= (uint8_t)(1U << (bit % 8));
        bit_packer_put(&packer, low & left_mask, left);
        for (unsigned j = 1; j < num_high; j++) {
            bit_packer_put(&packer, load_le64(record + 8 * j), 64);
        }
        if (num_high > 0) {
            bit_packer_put(&packer, load_le64(record + 8 * num_high) & top_mask,
                           top_bits);
        }
        record += record_len;
    }
    writer->rank = rank + run.num_records;
    writer->packer = packer;
}

// pad_remainders fills the last word up with zeros.
static void pad_remainders(image_writer *writer, const builder_table *table) {
    uint64_t num_bits = table->num_records * remainder_bits(table);
    uint64_t padding = remainders_size(table) - num_bits / 8;
    for (uint64_t i = 0; i < padding; i++) {
        *writer->packer.out++ = writer->packer.partial;
        writer->packer.partial = 0;
    }
}

// read_remainders packs as many entries as fit `capacity`.
static bool read_remainders(size_t *out_len, image_writer *writer,
                            const builder_table *table, uint8_t *out, size_t capacity) {
    bit_packer *packer = &writer->packer;
    packer->out = out;
    while (capacity - (size_t)(packer->out - out) >= LARGEST_ENTRY) {
        size_t room = (capacity - (size_t)(packer->out - out)) / LARGEST_ENTRY;
        record_run run = next_run(&writer->cursor, room);
        if (run.num_records == 0) {
            pad_remainders(writer, table);
            writer->packing = false;
            break;
        }
        pack_run(writer, table, run);
        if (table->attributes &&
            !attributes_add(&writer->attributes, table, run.records, run.num_records)) {
            return false;
        }
    }
    *out_len = (size_t)(packer->out - out);
    return writer->packing || attributes_finish(&writer->attributes, table);
}

// start_dense gathers the attributes of a table whose entries are ranked in the order
// of their keys before mixing.
static bool start_dense(image_writer *writer, const builder_table *table) {
    enum { AHEAD = 16 };  // records lie in another order: 14 ns an entry against 29
    const uint8_t **records = table->dense.entries.records;
    attribute_streams *streams = &writer->attributes;
    if (!attributes_start(streams, table)) {
        return false;
    }
    for (uint64_t i = 0; table->attributes && i < table->num_records; i++) {
        uint64_t left = table->num_records - i;
        __builtin_prefetch(records[i + (left > AHEAD ? AHEAD : 0)] + table->serial_len);
        if (!attributes_add(streams, table, records[i], 1)) {
            return false;
        }
    }
    return attributes_finish(streams, table);
}

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

// put_hint notes at which bit the fine hint's bucket starts, and where the bucket has
// a coarse hint, that.
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

// write_hints notes where every so many buckets start, behind the zero that ends
// the bucket before, and how large the largest bucket is.
static void write_hints(uint8_t *out, const builder_table *table,
                        const uint8_t *directory) {
    uint8_t *fine_hints = out + 4 * num_coarse_hints(table->bucket_bits);
    uint64_t num_hints = num_fine_hints(table->bucket_bits);
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
    store_le64(out + hints_size(table->bucket_bits) - 8,
               largest_bucket(directory, directory_size(table)));
}

static uint64_t section_size(const image_writer *writer, const builder_table *table) {
    if (is_dense(table) && writer->section < NUM_DENSE_SECTIONS) {
        return dense_section_size(table, writer->section);
    }
    switch (writer->section) {
    case SECTION_HINTS:
        return hints_size(table->bucket_bits);
    case SECTION_DIRECTORY:
        return directory_size(table);
    default:
        return attributes_section_size(&writer->attributes, writer->section);
    }
}

// make_section puts a whole section other than the remainders into the piece.
// The hints go before the directory, which they are read off.
static bool make_section(image_writer *writer, builder_table *table) {
    unsigned section = writer->section;
    uint64_t size = section_size(writer, table);
    place_section(writer, table, section, size);
    free(writer->piece);
    writer->piece = NULL;
    writer->piece_at = 0;
    writer->piece_len = (size_t)size;
    if (size == 0) {
        return true;
    }
    if (section >= NUM_DENSE_SECTIONS) {
        writer->piece = attributes_take_section(&writer->attributes, section);
        return true;
    }
    if (section == SECTION_DIRECTORY && !is_dense(table)) {
        writer->piece = writer->directory;
        writer->directory = NULL;
        return true;
    }
    writer->piece = calloc(1, size);
    if (writer->piece == NULL) {
        return false;
    }
    if (is_dense(table)) {
        memcpy(writer->piece, table->dense.sections[section], size);
    } else {
        write_hints(writer->piece, table, writer->directory);
    }
    return true;
}

static size_t read_piece(image_writer *writer, uint8_t *out, size_t capacity) {
    size_t left = writer->piece_len - writer->piece_at;
    size_t len = left < capacity ? left : capacity;
    if (len > 0) {
        memcpy(out, writer->piece + writer->piece_at, len);
        writer->piece_at += len;
    }
    return len;
}

// end_table moves on to the next table, or completes the header behind the last.
static void end_table(crlcheck_builder *builder) {
    image_writer *writer = builder->writer;
    attributes_clear(&writer->attributes);
    writer->table++;
    writer->section = SECTION_REMAINDERS;
    if (writer->table == builder->num_tables) {
        header_complete(builder);
    }
}

// advance makes the next octets, or the next piece to hand over.
static bool advance(size_t *out_len, crlcheck_builder *builder, uint8_t *out,
                    size_t capacity) {
    image_writer *writer = builder->writer;
    builder_table *table = &builder->tables[writer->table];
    if (writer->section == NUM_SECTIONS) {
        end_table(builder);
        return true;
    }
    if (writer->section > SECTION_REMAINDERS || is_dense(table)) {
        bool gathered =
            writer->section > SECTION_REMAINDERS || start_dense(writer, table);
        bool made = gathered && make_section(writer, table);
        writer->section++;
        return made;
    }
    if (!writer->packing) {
        place_section(writer, table, SECTION_REMAINDERS, remainders_size(table));
        if (!start_remainders(writer, table)) {
            return false;
        }
    }
    bool packed = read_remainders(out_len, writer, table, out, capacity);
    writer->section += writer->packing ? 0 : 1;
    return packed;
}

crlcheck_status crlcheck_builder_read_body(crlcheck_builder *builder, size_t *out_len,
                                           crlcheck_error *out_error, uint8_t *out,
                                           size_t capacity) {
    image_writer *writer = builder->writer;
    *out_len = 0;
    if (capacity < LARGEST_ENTRY || writer == NULL || writer->failed) {
        return fail_status(out_error, CRLCHECK_LIMIT_EXCEEDED, CRLCHECK_RULE_NONE);
    }
    // An image of many small tables has as many short runs: they are gathered, so
    // that handing them over costs the caller no more than one long run does.
    while (capacity - *out_len >= LARGEST_ENTRY) {
        size_t len = 0;
        uint8_t *place = out + *out_len;
        if (writer->piece_at < writer->piece_len) {
            len = read_piece(writer, place, capacity - *out_len);
        } else if (writer->table >= builder->num_tables) {
            break;
        } else if (!advance(&len, builder, place, capacity - *out_len)) {
            writer->failed = true;
            return fail_status(out_error, CRLCHECK_NO_MEMORY, CRLCHECK_RULE_NONE);
        }
        *out_len += len;
    }
    return CRLCHECK_OK;
}
