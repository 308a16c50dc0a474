// attributes.c: reason codes of four bits, dates as differences within a block.

#include "attributes.h"

#include <stdlib.h>

#include "packer.h"

static bool dates_start(date_stream *stream, uint64_t num_entries) {
    stream->descriptors = calloc(num_date_blocks(num_entries), DATE_BLOCK_SIZE);
    return stream->descriptors != NULL;
}

static void dates_clear(date_stream *stream) {
    free(stream->descriptors);
    free(stream->payload);
}

bool attributes_start(attribute_streams *streams, const builder_table *table) {
    *streams = (attribute_streams){0};
    if (!table->attributes) {
        return true;
    }
    streams->reasons = calloc(1, octets_of_bits(table->num_records * 4));
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

// reserve makes room for one more block of any width, and what a packer writes
// beyond it.
static bool reserve(date_stream *stream) {
    enum { LARGEST_BLOCK = 64 * (DATES_PER_BLOCK / 8) + 16 };
    if (stream->capacity - stream->payload_size >= LARGEST_BLOCK) {
        return true;
    }
    uint64_t capacity = stream->capacity * 2 + LARGEST_BLOCK;
    uint8_t *payload = realloc(stream->payload, capacity);
    if (payload == NULL) {
        return false;
    }
    stream->payload = payload;
    stream->capacity = capacity;
    return true;
}

// base_and_width finds what the dates of the block in progress are stored as: 0
// stands for no date, so the differences from the smallest are stored plus one.
static unsigned base_and_width(int64_t *out_base, const date_stream *stream) {
    int64_t lowest = INT64_MAX;
    int64_t highest = NO_DATE;
    for (unsigned i = 0; i < stream->num_pending; i++) {
        int64_t date = stream->pending[i];
        lowest = date != NO_DATE && date < lowest ? date : lowest;
        highest = date > highest ? date : highest;
    }
    if (highest == NO_DATE) {
        *out_base = 0;
        return 0;
    }
    *out_base = lowest;
    return 64U - (unsigned)__builtin_clzll((uint64_t)(highest - lowest) + 1);
}

// pack_block ends the block in progress. Every block has room for all its dates.
static bool pack_block(date_stream *stream) {
    if (!reserve(stream)) {
        return false;
    }
    int64_t base;
    unsigned width = base_and_width(&base, stream);
    uint8_t *descriptor = stream->descriptors + stream->num_blocks * DATE_BLOCK_SIZE;
    store_le64(descriptor, (uint64_t)base);
    store_le32(descriptor + 8, (uint32_t)(stream->payload_size / (DATES_PER_BLOCK / 8)));
    descriptor[12] = (uint8_t)width;
    bit_packer packer = {.out = stream->payload + stream->payload_size};
    for (unsigned i = 0; i < DATES_PER_BLOCK; i++) {
        bool absent = i >= stream->num_pending || stream->pending[i] == NO_DATE;
        uint64_t value = absent ? 0 : (uint64_t)(stream->pending[i] - base) + 1;
        bit_packer_put(&packer, value, width);
    }
    stream->payload_size += width * (uint64_t)(DATES_PER_BLOCK / 8);
    stream->present |= width > 0;
    stream->num_blocks++;
    stream->num_pending = 0;
    return true;
}

static inline bool add_date(date_stream *stream, int64_t date) {
    stream->pending[stream->num_pending++] = date;
    return stream->num_pending < DATES_PER_BLOCK || pack_block(stream);
}

bool attributes_add(attribute_streams *streams, const builder_table *table,
                    const uint8_t *record) {
    record_attributes attributes;
    record_load_attributes(&attributes, record, table);
    uint64_t rank = streams->num_entries++;
    unsigned shift = rank % 2 * 4;
    streams->reasons[rank / 2] |= (uint8_t)(attributes.reason_code << shift);
    streams->has_reasons |= attributes.reason_code != CRLCHECK_NO_REASON;
    return add_date(&streams->revocation_dates, attributes.revocation_date) &&
           (!table->wide ||
            add_date(&streams->invalidity_dates, attributes.invalidity_date));
}

bool attributes_finish(attribute_streams *streams) {
    date_stream *revocation_dates = &streams->revocation_dates;
    date_stream *invalidity_dates = &streams->invalidity_dates;
    return (revocation_dates->num_pending == 0 || pack_block(revocation_dates)) &&
           (invalidity_dates->num_pending == 0 || pack_block(invalidity_dates));
}

static uint64_t dates_size(const date_stream *stream) {
    return stream->present ? stream->num_blocks * DATE_BLOCK_SIZE + stream->payload_size
                           : 0;
}

uint64_t attributes_section_size(const attribute_streams *streams, unsigned section) {
    switch (section) {
    case SECTION_REASONS:
        return streams->has_reasons ? octets_of_bits(streams->num_entries * 4) : 0;
    case SECTION_REVOCATION_DATES:
        return dates_size(&streams->revocation_dates);
    default:
        return dates_size(&streams->invalidity_dates);
    }
}

void attributes_copy_section(uint8_t *out, const attribute_streams *streams,
                             unsigned section) {
    if (section == SECTION_REASONS) {
        memcpy(out, streams->reasons, octets_of_bits(streams->num_entries * 4));
        return;
    }
    const date_stream *stream = section == SECTION_REVOCATION_DATES
                                    ? &streams->revocation_dates
                                    : &streams->invalidity_dates;
    uint64_t blocks_size = stream->num_blocks * DATE_BLOCK_SIZE;
    memcpy(out, stream->descriptors, blocks_size);
    memcpy(out + blocks_size, stream->payload, stream->payload_size);
}
