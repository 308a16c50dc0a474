// bucket_writer.h: makes the sections of a bucket table: the remainders of its keys, and
// a directory that says how many keys each bucket has.

#ifndef CRLCHECK_BUILDER_BUCKET_WRITER_H
#define CRLCHECK_BUILDER_BUCKET_WRITER_H

#include "base/bit_writer.h"
#include "builder/attributes.h"
#include "builder/table.h"

// bucket_writer is how far the remainders of a table have been packed. Zeroed, it is
// empty.
typedef struct bucket_writer {
    bool packing;
    unsigned bucket_bits;
    entry_cursor cursor;
    uint64_t rank;
    bit_writer bits;
    uint8_t *directory;  // filled while remainders are packed
} bucket_writer;

// bucket_bits_of chooses the number of buckets, as a power of two.
unsigned bucket_bits_of(const builder_table *table);

uint64_t bucket_section_size(const builder_table *table, unsigned section);

// bucket_table_size is the size of all sections but those of the attributes.
uint64_t bucket_table_size(const builder_table *table);

// bucket_writer_start returns false without memory.
bool bucket_writer_start(bucket_writer *writer, const builder_table *table);

// bucket_writer_pack packs the remainders of the next entries, as many as fit `capacity`,
// which must be LARGEST_ENTRY or more, and adds their attributes to `attributes`.
// `writer->packing` is false after the last. It returns false without memory.
enum { LARGEST_ENTRY = CRLCHECK_MAX_SERIAL + 16 };
bool bucket_writer_pack(size_t *out_len, bucket_writer *writer,
                        attribute_streams *attributes, const builder_table *table,
                        uint8_t *out, size_t capacity);

// bucket_writer_take_section returns the hints or, after them, the directory, once all
// remainders are packed. The caller frees it. It returns NULL without memory.
uint8_t *bucket_writer_take_section(bucket_writer *writer, const builder_table *table,
                                    unsigned section);

void bucket_writer_clear(bucket_writer *writer);

#endif
