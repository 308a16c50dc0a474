// image_writer.c: writes the body of an image, table after table and section after
// section, as docs/reference/index-format.md describes it. What depends on the kind of a table is
// decided here and nowhere else in the builder.

#include "builder/image_writer.h"

#include <stdlib.h>
#include <string.h>

#include "builder/attributes.h"
#include "builder/lines_writer.h"

// An entry is packed whole. Where a buffer has less room than an entry may take, a few
// entries go aside first, so that every buffer is filled to its last byte.
enum { ASIDE_SIZE = 4 * LARGEST_ENTRY };

struct image_writer {
    planned_table *tables;
    uint32_t num_tables;
    bool failed;
    uint8_t *header;
    size_t header_size;
    uint64_t offset;  // in the image, of the next section
    uint32_t table;
    unsigned section;
    const uint8_t *piece;  // what is handed over next: a section, or what is in `aside`
    size_t piece_len;
    size_t piece_at;
    uint8_t *section_bytes;  // owned
    uint8_t aside[ASIDE_SIZE];  // packed where the caller's buffer had too little room
    uint64_t padding;  // zeros to hand over before the piece
    lines_writer lines;  // of a table of lines
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
        free(writer->section_bytes);
        lines_writer_clear(&writer->lines);
        attributes_clear(&writer->attributes);
        free(writer);
    }
}

crlcheck_slice image_writer_header(const image_writer *writer) {
    return (crlcheck_slice){writer->header, writer->header_size};
}

// place_section enters where a section lies, now that its size is known. Each line lies in
// one line of the cache.
static void place_section(image_writer *writer, planned_table *planned, unsigned section,
                          uint64_t size) {
    bool lines = plan_kind(&planned->plan) == TABLE_KIND_LINES &&
                 section == SECTION_LINES && size > 0;
    writer->padding = lines ? round_up(writer->offset, LINE_SIZE) - writer->offset : 0;
    writer->offset += writer->padding;
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
        return lines_section_size(&planned->table, planned->num_spilled, section);
    }
}

// take_kind_section returns a section that its caller frees, or NULL without memory.
static uint8_t *take_kind_section(image_writer *writer, const planned_table *planned,
                                  unsigned section, uint64_t size) {
    if (plan_kind(&planned->plan) == TABLE_KIND_LINES) {
        return lines_writer_take_section(&writer->lines, section);
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

// pack_lines packs remainders straight into the buffer of the caller.
static bool pack_lines(image_writer *writer, size_t *out_len, planned_table *planned,
                       uint8_t *out, size_t capacity) {
    const builder_table *table = &planned->table;
    lines_writer *lines = &writer->lines;
    if (!lines->packing) {
        place_section(writer, planned, SECTION_REMAINDERS,
                      lines_section_size(table, 0, SECTION_REMAINDERS));
        if (!lines_writer_start(lines, table) ||
            !attributes_start(&writer->attributes, table)) {
            return false;
        }
    }
    if (!lines_writer_pack(out_len, lines, &writer->attributes, table, out, capacity)) {
        return false;
    }
    if (lines->packing) {
        return true;
    }
    planned->num_spilled = lines->num_spilled;
    planned->largest_bucket = lines->largest_bucket;
    writer->section++;
    return attributes_finish(&writer->attributes, table);
}

// ---- pieces ----

static void hand_over(image_writer *writer, const uint8_t *piece, size_t len) {
    writer->piece = piece;
    writer->piece_len = len;
    writer->piece_at = 0;
}

// make_piece puts a whole section into the piece.
static bool make_piece(image_writer *writer, planned_table *planned) {
    unsigned section = writer->section;
    bool of_kind = section < NUM_KIND_SECTIONS;
    uint64_t size = of_kind ? kind_section_size(planned, section)
                            : attributes_section_size(&writer->attributes, section);
    place_section(writer, planned, section, size);
    free(writer->section_bytes);
    writer->section_bytes = NULL;
    if (size > 0) {
        writer->section_bytes =
            of_kind ? take_kind_section(writer, planned, section, size)
                    : attributes_take_section(&writer->attributes, section);
    }
    hand_over(writer, writer->section_bytes, (size_t)size);
    writer->section++;
    return size == 0 || writer->section_bytes != NULL;
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
    if (plan_kind(&planned->plan) == TABLE_KIND_LINES) {
        return pack_lines(writer, out_len, planned, out, capacity);
    }
    return gather_attributes(writer, planned) && make_piece(writer, planned);
}

// make_more makes the next bytes, in `out` or aside.
static bool make_more(image_writer *writer, size_t *out_len, uint8_t *out,
                      size_t capacity) {
    if (capacity >= LARGEST_ENTRY) {
        return advance(writer, out_len, out, capacity);
    }
    size_t len = 0;
    if (!advance(writer, &len, writer->aside, sizeof writer->aside)) {
        return false;
    }
    if (len > 0) {
        hand_over(writer, writer->aside, len);
    }
    return true;
}

crlcheck_status image_writer_read(image_writer *writer, size_t *out_len, uint8_t *out,
                                  size_t capacity) {
    *out_len = 0;
    if (capacity == 0 || writer->failed) {
        return CRLCHECK_LIMIT_EXCEEDED;
    }
    while (*out_len < capacity) {
        size_t len = 0;
        uint8_t *place = out + *out_len;
        if (writer->padding > 0) {
            size_t room = capacity - *out_len;
            len = writer->padding < room ? (size_t)writer->padding : room;
            memset(place, 0, len);
            writer->padding -= len;
        } else if (writer->piece_at < writer->piece_len) {
            len = read_piece(writer, place, capacity - *out_len);
        } else if (writer->table >= writer->num_tables) {
            break;
        } else if (!make_more(writer, &len, place, capacity - *out_len)) {
            writer->failed = true;
            return CRLCHECK_NO_MEMORY;
        }
        *out_len += len;
    }
    return CRLCHECK_OK;
}
