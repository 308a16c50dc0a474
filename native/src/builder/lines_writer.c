// lines_writer.c: packs remainders, and counts the entries of each bucket in its line.

#include "builder/lines_writer.h"

#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "image/format.h"

// ---- sizes ----

// A bucket has three entries at most, on average: more would need longer to compare, and
// fewer would need more lines.
unsigned bucket_bits_of(const builder_table *table) {
    unsigned bucket_bits = 0;
    if (table->num_records > LARGEST_COUNT) {
        while (5 * table->num_records > UINT64_C(16) << bucket_bits) {
            bucket_bits++;
        }
    }
    return bucket_bits;
}

static uint64_t bits_of_remainders(const builder_table *table) {
    return table->num_records * (table->shape.key_bits - bucket_bits_of(table));
}

uint64_t lines_section_size(const builder_table *table, uint64_t num_spilled,
                            unsigned section) {
    unsigned bucket_bits = bucket_bits_of(table);
    switch (section) {
    case SECTION_REMAINDERS:
        return bytes_of_bits(bits_of_remainders(table));
    case SECTION_LINES:
        return bucket_bits == 0 ? 0 : num_lines(bucket_bits) * LINE_SIZE;
    default:
        return num_spilled * SPILL_RECORD_SIZE;
    }
}

uint64_t lines_table_size(const builder_table *table) {
    return lines_section_size(table, 0, SECTION_REMAINDERS) +
           lines_section_size(table, 0, SECTION_LINES);
}

// ---- entries ----

bool lines_writer_start(lines_writer *writer, const builder_table *table) {
    uint64_t size = lines_section_size(table, 0, SECTION_LINES);
    *writer = (lines_writer){.packing = true,
                             .bucket_bits = bucket_bits_of(table),
                             .cursor = first_entry(table)};
    if (size == 0) {
        writer->largest_bucket = table->num_records;
        return true;
    }
    writer->lines = calloc(1, (size_t)size);
    return writer->lines != NULL;
}

// start_lines enters the rank of the next entry as the first of each line up to `end`.
static void start_lines(lines_writer *writer, uint64_t end, uint64_t rank) {
    for (; writer->num_started < end; writer->num_started++) {
        store_le32(writer->lines + writer->num_started * LINE_SIZE, (uint32_t)rank);
    }
}

// spill_line marks a line of which one bucket has more entries than can be counted.
static void spill_line(lines_writer *writer, uint8_t *line) {
    uint32_t first = load_le32(line);
    writer->num_spilled += (first & SPILLED_LINE) == 0;
    store_le32(line, first | SPILLED_LINE);
}

// count_run counts entries in the lines of their buckets.
static void count_run(lines_writer *writer, const builder_table *table, record_run run) {
    uint64_t low_mask = low_bits(table->shape.low_bits);
    unsigned left = table->shape.low_bits - writer->bucket_bits;
    size_t record_len = table->record_len;
    uint64_t num_started = writer->num_started;
    unsigned largest = (unsigned)writer->largest_bucket;
    const uint8_t *record = run.records;
    for (size_t i = 0; i < run.num_records; i++, record += record_len) {
        uint32_t bucket = (uint32_t)((load_le64(record) & low_mask) >> left);
        uint32_t number = bucket / BUCKETS_PER_LINE;
        if (number >= num_started) {
            start_lines(writer, (uint64_t)number + 1, writer->rank + i);
            num_started = writer->num_started;
        }
        uint8_t *line = writer->lines + (uint64_t)number * LINE_SIZE;
        unsigned place = bucket % BUCKETS_PER_LINE;
        uint8_t *octet = line + LINE_COUNTS + place / 2;
        unsigned shift = place % 2 * 4;
        unsigned count = (*octet >> shift & LARGEST_COUNT) + 1U;
        if (count > LARGEST_COUNT) {
            spill_line(writer, line);
            continue;
        }
        largest = count > largest ? count : largest;
        *octet = (uint8_t)(*octet + (1U << shift));
    }
    writer->largest_bucket = largest;
}

// pack_run adds entries to the remainders. Fields are copied to variables: the bytes
// written could alias them, and they would be loaded anew for each entry (21 ns an entry
// with attributes against 12).
static void pack_run(lines_writer *writer, const builder_table *table, record_run run) {
    const key_shape *shape = &table->shape;
    unsigned num_high = shape->num_high;
    unsigned left = shape->low_bits - writer->bucket_bits;
    unsigned top_bits = shape->key_bits - 64 * num_high;
    uint64_t left_mask = low_bits(left);
    uint64_t top_mask = shape->top_mask;
    size_t record_len = table->record_len;
    bit_writer bits = writer->bits;
    const uint8_t *record = run.records;
    for (size_t i = 0; i < run.num_records; i++) {
        bit_writer_put(&bits, load_le64(record) & left_mask, left);
        for (unsigned j = 1; j < num_high; j++) {
            bit_writer_put(&bits, load_le64(record + 8 * j), 64);
        }
        if (num_high > 0) {
            bit_writer_put(&bits, load_le64(record + 8 * num_high) & top_mask, top_bits);
        }
        record += record_len;
    }
    writer->bits = bits;
}

// ---- spilled lines ----

// count_spilled counts the entries of all buckets of spilled lines, in the records of
// these, each count behind the place of its bucket. It goes through all entries again,
// because a line shows that it is spilled when entries of it are gone already.
static void count_spilled(lines_writer *writer, const builder_table *table) {
    uint64_t low_mask = low_bits(table->shape.low_bits);
    unsigned left = table->shape.low_bits - writer->bucket_bits;
    entry_cursor cursor = first_entry(table);
    const uint8_t *record;
    while ((record = next_entry(&cursor)) != NULL) {
        uint64_t bucket = (load_le64(record) & low_mask) >> left;
        const uint8_t *line = writer->lines + bucket / BUCKETS_PER_LINE * LINE_SIZE;
        if ((load_le32(line) & SPILLED_LINE) != 0) {
            uint8_t *count = writer->spill +
                             load_le32(line + LINE_COUNTS) * SPILL_RECORD_SIZE +
                             4 * (bucket % BUCKETS_PER_LINE + 1);
            store_le32(count, load_le32(count) + 1);
        }
    }
}

// rank_spilled turns the counts of a record into ranks.
static void rank_spilled(lines_writer *writer, uint8_t *ranks, uint32_t first) {
    store_le32(ranks, first);
    for (unsigned i = 1; i <= BUCKETS_PER_LINE; i++) {
        uint32_t count = load_le32(ranks + 4 * i);
        if (count > writer->largest_bucket) {
            writer->largest_bucket = count;
        }
        store_le32(ranks + 4 * i, load_le32(ranks + 4 * (i - 1)) + count);
    }
}

// spill makes the records of all spilled lines, in order. It returns false without memory.
static bool spill(lines_writer *writer, const builder_table *table) {
    uint64_t lines_size = lines_section_size(table, 0, SECTION_LINES);
    uint32_t number = 0;
    writer->spill = calloc((size_t)writer->num_spilled, SPILL_RECORD_SIZE);
    if (writer->spill == NULL) {
        return false;
    }
    for (uint8_t *line = writer->lines; line < writer->lines + lines_size;
         line += LINE_SIZE) {
        if ((load_le32(line) & SPILLED_LINE) != 0) {
            memset(line + LINE_COUNTS, 0, LINE_SIZE - LINE_COUNTS);
            store_le32(line + LINE_COUNTS, number++);
        }
    }
    count_spilled(writer, table);
    for (uint8_t *line = writer->lines; line < writer->lines + lines_size;
         line += LINE_SIZE) {
        if ((load_le32(line) & SPILLED_LINE) != 0) {
            uint64_t record = load_le32(line + LINE_COUNTS);
            rank_spilled(writer, writer->spill + record * SPILL_RECORD_SIZE,
                         load_le32(line) & ~SPILLED_LINE);
        }
    }
    return true;
}

// finish_lines makes what is known behind the last entry.
static bool finish_lines(lines_writer *writer, const builder_table *table) {
    if (writer->lines == NULL) {
        return true;
    }
    start_lines(writer, num_lines(writer->bucket_bits), writer->rank);
    return writer->num_spilled == 0 || spill(writer, table);
}

// ---- what is handed over ----

// pad_remainders fills the last word up with zeros.
static void pad_remainders(lines_writer *writer, const builder_table *table) {
    uint64_t padding =
        lines_section_size(table, 0, SECTION_REMAINDERS) - bits_of_remainders(table) / 8;
    for (uint64_t i = 0; i < padding; i++) {
        *writer->bits.out++ = writer->bits.partial;
        writer->bits.partial = 0;
    }
}

bool lines_writer_pack(size_t *out_len, lines_writer *writer,
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
            *out_len = (size_t)(bits->out - out);
            return finish_lines(writer, table);
        }
        if (writer->lines != NULL) {
            count_run(writer, table, run);
        }
        pack_run(writer, table, run);
        writer->rank += run.num_records;
        if (table->attributes &&
            !attributes_add(attributes, table, run.records, run.num_records)) {
            return false;
        }
    }
    *out_len = (size_t)(bits->out - out);
    return true;
}

uint8_t *lines_writer_take_section(lines_writer *writer, unsigned section) {
    uint8_t **held = section == SECTION_LINES ? &writer->lines : &writer->spill;
    uint8_t *taken = *held;
    *held = NULL;
    return taken;
}

void lines_writer_clear(lines_writer *writer) {
    free(writer->lines);
    free(writer->spill);
    *writer = (lines_writer){0};
}
