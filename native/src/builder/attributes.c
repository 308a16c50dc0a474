// attributes.c: packs reason codes in four bits each, and dates as differences to the
// earliest of their block.

#include "builder/attributes.h"

#include <stdlib.h>

#include "base/bit_writer.h"

static bool dates_start(date_stream *stream, uint64_t num_entries) {
    stream->descriptors_size = num_date_blocks(num_entries) * DATE_BLOCK_SIZE;
    stream->capacity = stream->descriptors_size;
    stream->section = calloc(1, stream->descriptors_size);
    return stream->section != NULL;
}

static void dates_clear(date_stream *stream) {
    free(stream->section);
}

bool attributes_start(attribute_streams *streams, const builder_table *table) {
    *streams = (attribute_streams){0};
    if (!table->attributes) {
        return true;
    }
    streams->reasons = calloc(1, bytes_of_bits(table->num_records * 4));
    return streams->reasons != NULL &&
           dates_start(&streams->revocation_dates, table->num_records) &&
           (!table->wide || dates_start(&streams->invalidity_dates, table->num_records));
}

void attributes_clear(attribute_streams *streams) {
    free(streams->reasons);
    dates_clear(&streams->revocation_dates);
    dates_clear(&streams->invalidity_dates);
    *streams = (attribute_streams){0};
}

// reserve makes room for one more block of any width, and for what a bit_writer writes
// beyond it.
static bool reserve(date_stream *stream) {
    enum { LARGEST_BLOCK = 64 * (DATES_PER_BLOCK / 8) + 16 };
    uint64_t used = stream->descriptors_size + stream->payload_size;
    if (stream->capacity - used >= LARGEST_BLOCK) {
        return true;
    }
    uint64_t capacity = stream->capacity * 2 + LARGEST_BLOCK;
    uint8_t *section = realloc(stream->section, capacity);
    if (section == NULL) {
        return false;
    }
    stream->section = section;
    stream->capacity = capacity;
    return true;
}

// pack_dates writes dates of `width` bits, at most RECORD_DATE_BITS + 1, end to end. They
// fill whole words. Where a word ends repeats after 64 dates at most, so it is predicted.
static void pack_dates(uint8_t *out, const uint64_t *dates, uint64_t earliest,
                       unsigned width) {
    uint64_t word = 0;
    unsigned filled = 0;
    for (unsigned i = 0; i < DATES_PER_BLOCK; i++) {
        uint64_t value = dates[i] == 0 ? 0 : dates[i] - earliest;
        word |= value << filled;
        filled += width;
        if (filled >= 64) {
            store_le64(out, word);
            out += 8;
            filled -= 64;
            word = value >> (width - filled);
        }
    }
}

// pack_block packs the dates of the block in progress: always DATES_PER_BLOCK of them.
// 0 stands for no date, so the differences to the earliest are stored plus one.
static bool pack_block(date_stream *stream) {
    if (!reserve(stream)) {
        return false;
    }
    uint64_t earliest = UINT64_MAX;  // of date - 1, which wraps to this for no date
    uint64_t latest = 0;
    for (unsigned i = 0; i < DATES_PER_BLOCK; i++) {
        uint64_t date = stream->pending[i];
        earliest = date - 1 < earliest ? date - 1 : earliest;
        latest = date > latest ? date : latest;
    }
    bool any = latest != 0;
    unsigned width = any ? 64U - (unsigned)__builtin_clzll(latest - earliest) : 0;
    uint8_t *descriptor = stream->section + stream->num_blocks * DATE_BLOCK_SIZE;
    store_le64(descriptor, any ? earliest + (uint64_t)FIRST_DATE : 0);
    store_le32(descriptor + 8, (uint32_t)(stream->payload_size / (DATES_PER_BLOCK / 8)));
    descriptor[12] = (uint8_t)width;
    pack_dates(stream->section + stream->descriptors_size + stream->payload_size,
               stream->pending, earliest, width);
    stream->payload_size += width * (uint64_t)(DATES_PER_BLOCK / 8);
    stream->present |= any;
    stream->num_blocks++;
    return true;
}

static bool pack_blocks(attribute_streams *streams, const builder_table *table) {
    streams->num_pending = 0;
    return pack_block(&streams->revocation_dates) &&
           (!table->wide || pack_block(&streams->invalidity_dates));
}

// put_reasons stores a reason in four bits for each record. Two share a byte, which is
// written once: loading it right after it was written takes long.
static unsigned put_reasons(uint8_t *reasons, uint64_t rank, const uint8_t *attributes,
                            size_t record_len, size_t num_records) {
    unsigned differing = 0;
    size_t i = 0;
    if (rank % 2 == 1 && num_records > 0) {
        unsigned reason = attributes[RECORD_REASON] & 0x0fU;
        reasons[rank / 2] |= (uint8_t)(reason << 4);
        differing |= reason ^ CRLCHECK_NO_REASON;
        i = 1;
    }
    for (; i + 1 < num_records; i += 2) {
        const uint8_t *stored = attributes + i * record_len + RECORD_REASON;
        unsigned first = stored[0] & 0x0fU;
        unsigned second = stored[record_len] & 0x0fU;
        reasons[(rank + i) / 2] = (uint8_t)(first | second << 4);
        differing |= (first ^ CRLCHECK_NO_REASON) | (second ^ CRLCHECK_NO_REASON);
    }
    if (i < num_records) {
        unsigned reason = attributes[i * record_len + RECORD_REASON] & 0x0fU;
        reasons[(rank + i) / 2] = (uint8_t)reason;
        differing |= reason ^ CRLCHECK_NO_REASON;
    }
    return differing;
}

// gather takes entries that the blocks in progress have room for. Fields are copied to
// variables: the bytes written could alias them, and they would be loaded anew for each
// entry.
static void gather(attribute_streams *streams, const builder_table *table,
                   const uint8_t *records, size_t num_records) {
    uint64_t *revocation_dates = streams->revocation_dates.pending + streams->num_pending;
    uint64_t *invalidity_dates = streams->invalidity_dates.pending + streams->num_pending;
    size_t record_len = table->record_len;
    const uint8_t *attributes = records + table->serial_len;
    for (size_t i = 0; i < num_records; i++) {
        uint64_t word = load_le64(attributes + i * record_len);
        revocation_dates[i] = (word & low_bits(RECORD_DATE_BITS)) + 1;
    }
    unsigned reasons_differing = put_reasons(streams->reasons, streams->num_entries,
                                             attributes, record_len, num_records);
    for (size_t i = 0; table->wide && i < num_records; i++) {
        uint64_t word = load_le64(attributes + i * record_len + RECORD_INVALIDITY_DATE);
        invalidity_dates[i] = (word + 1) & low_bits(RECORD_DATE_BITS);
    }
    streams->has_reasons |= reasons_differing != 0;
    streams->num_entries += num_records;
    streams->num_pending += num_records;
}

bool attributes_add(attribute_streams *streams, const builder_table *table,
                    const uint8_t *records, size_t num_records) {
    while (num_records > 0) {
        size_t room = DATES_PER_BLOCK - streams->num_pending;
        size_t num_taken = num_records < room ? num_records : room;
        gather(streams, table, records, num_taken);
        if (num_taken == room && !pack_blocks(streams, table)) {
            return false;
        }
        records += num_taken * table->record_len;
        num_records -= num_taken;
    }
    return true;
}

bool attributes_finish(attribute_streams *streams, const builder_table *table) {
    size_t first = streams->num_pending;
    if (first == 0) {
        return true;
    }
    for (size_t i = first; i < DATES_PER_BLOCK; i++) {
        streams->revocation_dates.pending[i] = 0;
        streams->invalidity_dates.pending[i] = 0;
    }
    return pack_blocks(streams, table);
}

static uint64_t dates_size(const date_stream *stream) {
    return stream->present ? stream->descriptors_size + stream->payload_size : 0;
}

uint64_t attributes_section_size(const attribute_streams *streams, unsigned section) {
    switch (section) {
    case SECTION_REASONS:
        return streams->has_reasons ? bytes_of_bits(streams->num_entries * 4) : 0;
    case SECTION_REVOCATION_DATES:
        return dates_size(&streams->revocation_dates);
    default:
        return dates_size(&streams->invalidity_dates);
    }
}

static uint8_t *take(uint8_t **section) {
    uint8_t *taken = *section;
    *section = NULL;
    return taken;
}

uint8_t *attributes_take_section(attribute_streams *streams, unsigned section) {
    switch (section) {
    case SECTION_REASONS:
        return take(&streams->reasons);
    case SECTION_REVOCATION_DATES:
        return take(&streams->revocation_dates.section);
    default:
        return take(&streams->invalidity_dates.section);
    }
}
