// image_writer.c: writes the body of an image, table after table and section after
// section, as docs/index-format.md describes it. What depends on the kind of a table is
// decided here and nowhere else in the builder.

#include "builder/image_writer.h"

#include <stdlib.h>
#include <string.h>

#include "builder/attributes.h"
#include "builder/bucket_writer.h"

struct image_writer {
    planned_table *tables;
    uint32_t num_tables;
    bool failed;
    uint8_t *header;
    size_t header_size;
    uint64_t offset;  // in the image, of the next section
    uint32_t table;
    unsigned section;
    uint8_t *piece;  // a section while it is handed over
    size_t piece_len;
    size_t piece_at;
    bucket_writer buckets;         // of a bucket table
    attribute_streams attributes;  // gathered meanwhile, until they are handed over
};

image_writer *image_writer_new(const image_contents *contents) {
    uint64_t header_size = header_size_of(contents);
    image_writer *writer = calloc(1, sizeof *writer);
    uint8_t *header = calloc(1, (size_t)header_size);
    if (writer == NULL || header == NULL) {
        free(writer);
        free(header);
        return NULL;
    }
    header_start(header, contents);
    // For an image without tables, whose body is empty.
    header_seal(header, contents->tables, contents->num_tables, header_size);
    *writer = (image_writer){.tables = contents->tables,
                             .num_tables = contents->num_tables,
                             .header = header,
                             .header_size = (size_t)header_size,
                             .offset = header_size};
    return writer;
}

void image_writer_free(image_writer *writer) {
    if (writer != NULL) {
        free(writer->header);
        free(writer->piece);
        bucket_writer_clear(&writer->buckets);
        attributes_clear(&writer->attributes);
        free(writer);
    }
}

crlcheck_slice image_writer_header(const image_writer *writer) {
    return (crlcheck_slice){writer->header, writer->header_size};
}

// place_section enters where a section lies, now that its size is known.
static void place_section(image_writer *writer, planned_table *planned, unsigned section,
                          uint64_t size) {
    planned->sections[section] = (section_span){size > 0 ? writer->offset : 0, size};
    writer->offset += size;
}

// ---- the kinds of tables ----

static uint64_t kind_section_size(const planned_table *planned, unsigned section) {
    const table_plan *plan = &planned->plan;
    switch (plan_kind(plan)) {
    case TABLE_KIND_BITMAP:
        return bitmap_section_size(&plan->bitmap, &plan->entries, section);
    case TABLE_KIND_GAPS:
        return gaps_section_size(&plan->gaps, &plan->entries, section);
    default:
        return bucket_section_size(&planned->table, section);
    }
}

// take_kind_section returns a section that its caller frees, or NULL without memory.
static uint8_t *take_kind_section(image_writer *writer, const planned_table *planned,
                                  unsigned section, uint64_t size) {
    if (plan_kind(&planned->plan) == TABLE_KIND_BUCKET) {
        return bucket_writer_take_section(&writer->buckets, &planned->table, section);
    }
    uint8_t *copy = malloc((size_t)size);
    if (copy != NULL) {
        memcpy(copy, planned->plan.sections[section], size);
    }
    return copy;
}

// gather_attributes gathers the attributes of a bitmap or gaps, whose entries are ranked
// by ordered key.
static bool gather_attributes(image_writer *writer, const planned_table *planned) {
    enum { AHEAD = 16 };  // records lie in another order: 14 ns an entry against 29
    const builder_table *table = &planned->table;
    const uint8_t **records = planned->plan.entries.records;
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

// pack_buckets packs remainders straight into the buffer of the caller.
static bool pack_buckets(image_writer *writer, size_t *out_len, planned_table *planned,
                         uint8_t *out, size_t capacity) {
    const builder_table *table = &planned->table;
    bucket_writer *buckets = &writer->buckets;
    if (!buckets->packing) {
        place_section(writer, planned, SECTION_REMAINDERS,
                      bucket_section_size(table, SECTION_REMAINDERS));
        if (!bucket_writer_start(buckets, table) ||
            !attributes_start(&writer->attributes, table)) {
            return false;
        }
    }
    if (!bucket_writer_pack(out_len, buckets, &writer->attributes, table, out,
                            capacity)) {
        return false;
    }
    if (buckets->packing) {
        return true;
    }
    writer->section++;
    return attributes_finish(&writer->attributes, table);
}

// ---- pieces ----

// make_piece puts a whole section into the piece.
static bool make_piece(image_writer *writer, planned_table *planned) {
    unsigned section = writer->section;
    bool of_kind = section < NUM_KIND_SECTIONS;
    uint64_t size = of_kind ? kind_section_size(planned, section)
                            : attributes_section_size(&writer->attributes, section);
    place_section(writer, planned, section, size);
    free(writer->piece);
    writer->piece = NULL;
    writer->piece_at = 0;
    writer->piece_len = (size_t)size;
    if (size > 0) {
        writer->piece = of_kind ? take_kind_section(writer, planned, section, size)
                                : attributes_take_section(&writer->attributes, section);
    }
    writer->section++;
    return size == 0 || writer->piece != NULL;
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

// end_table moves on to the next table, or seals the header behind the last.
static void end_table(image_writer *writer) {
    attributes_clear(&writer->attributes);
    writer->table++;
    writer->section = SECTION_REMAINDERS;
    if (writer->table == writer->num_tables) {
        header_seal(writer->header, writer->tables, writer->num_tables, writer->offset);
    }
}

// advance makes the next bytes, or the next piece to hand over.
static bool advance(image_writer *writer, size_t *out_len, uint8_t *out,
                    size_t capacity) {
    planned_table *planned = &writer->tables[writer->table];
    if (writer->section == NUM_SECTIONS) {
        end_table(writer);
        return true;
    }
    if (writer->section > SECTION_REMAINDERS) {
        return make_piece(writer, planned);
    }
    if (plan_kind(&planned->plan) == TABLE_KIND_BUCKET) {
        return pack_buckets(writer, out_len, planned, out, capacity);
    }
    return gather_attributes(writer, planned) && make_piece(writer, planned);
}

crlcheck_status image_writer_read(image_writer *writer, size_t *out_len, uint8_t *out,
                                  size_t capacity) {
    *out_len = 0;
    if (capacity < LARGEST_ENTRY || writer->failed) {
        return CRLCHECK_LIMIT_EXCEEDED;
    }
    // An image of many small tables has as many short sections. They are gathered, so
    // that the caller need not take each on its own.
    while (capacity - *out_len >= LARGEST_ENTRY) {
        size_t len = 0;
        uint8_t *place = out + *out_len;
        if (writer->piece_at < writer->piece_len) {
            len = read_piece(writer, place, capacity - *out_len);
        } else if (writer->table >= writer->num_tables) {
            break;
        } else if (!advance(writer, &len, place, capacity - *out_len)) {
            writer->failed = true;
            return CRLCHECK_NO_MEMORY;
        }
        *out_len += len;
    }
    return CRLCHECK_OK;
}
