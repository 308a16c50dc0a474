// lines_writer.h: makes the sections of a table of lines: the remainders of its keys, and
// lines that say how many keys each bucket has.

#ifndef CRLCHECK_BUILDER_LINES_WRITER_H
#define CRLCHECK_BUILDER_LINES_WRITER_H

#include "base/bit_writer.h"
#include "builder/attributes.h"
#include "builder/table.h"

// lines_writer is how far the remainders of a table have been packed. Zeroed, it is
// empty.
typedef struct lines_writer {
    bool packing;
    unsigned bucket_bits;
    entry_cursor cursor;
    uint64_t rank;
    bit_writer bits;
    uint8_t *lines;  // filled while remainders are packed, NULL where there is one bucket
    uint64_t num_started;  // lines whose first rank is known
    uint64_t num_spilled;
    uint8_t *spill;  // the records of spilled lines, made behind the last entry
    uint64_t largest_bucket;
} lines_writer;

// bucket_bits_of chooses the number of buckets, as a power of two.
unsigned bucket_bits_of(const builder_table *table);

// lines_section_size is the size of one of the sections; `num_spilled` is known only once
// all remainders are packed, and 0 before.
uint64_t lines_section_size(const builder_table *table, uint64_t num_spilled,
                            unsigned section);

// lines_table_size is the size of all sections but those of the attributes, if no line is
// spilled.
uint64_t lines_table_size(const builder_table *table);

// lines_writer_start returns false without memory.
bool lines_writer_start(lines_writer *writer, const builder_table *table);

// lines_writer_pack packs the remainders of the next entries, as many as fit `capacity`,
// which must be LARGEST_ENTRY or more, and adds their attributes to `attributes`.
// `writer->packing` is false after the last. It returns false without memory.
enum { LARGEST_ENTRY = CRLCHECK_MAX_SERIAL + 16 };
bool lines_writer_pack(size_t *out_len, lines_writer *writer,
                       attribute_streams *attributes, const builder_table *table,
                       uint8_t *out, size_t capacity);

// lines_writer_take_section hands over the lines or the records of spilled lines, once all
// remainders are packed. The caller frees it.
uint8_t *lines_writer_take_section(lines_writer *writer, unsigned section);

void lines_writer_clear(lines_writer *writer);

#endif
