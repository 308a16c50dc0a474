// plain_entries.c: reads plain entries, without a branch for what differs among them.
//
// A plain entry is { INTEGER, UTCTime } or the same with a reason code as its only
// extension, with a positive serial of up to 20 octets. All octets but serial, date and
// reason are then known beforehand, and are compared in a few words. Everything else is
// left to fields.c. A fuzz target compares the two.

#include "crl/plain_entries.h"

#include "base/bytes.h"

enum {
    // Longer than any plain entry, so that one check of the length is enough.
    PLAIN_WINDOW = 128,
    MAX_PLAIN_SERIAL = 20,
    TIME_LEN = 15,   // tag, length, YYMMDDHHMMSSZ
    REASON_LEN = 14  // crlEntryExtensions with a reasonCode alone
};

// crlEntryExtensions up to the reason itself, RFC 5280 5.3.1.
static const uint8_t reason_extension[REASON_LEN - 1] = {
    DER_SEQUENCE, 12, DER_SEQUENCE,     10, DER_OBJECT_IDENTIFIER, 3, 0x55,
    0x1d,         21, DER_OCTET_STRING, 3,  DER_ENUMERATED,        1};

// All reasons but 7, which is unused, and removeFromCRL, which the parser notes.
static const uint32_t plain_reasons = 0x67f;

// two_digit_numbers turns ASCII digits into numbers of two digits, one for every
// 16 bits. It clears `*valid` where any octet is no digit.
static inline uint64_t two_digit_numbers(bool *valid, uint64_t text,
                                         uint64_t width_mask) {
    uint64_t digits = text ^ (UINT64_C(0x3030303030303030) & width_mask);
    uint64_t above_nine = (digits + (UINT64_C(0x7676767676767676) & width_mask)) | digits;
    *valid &= (above_nine & UINT64_C(0x8080808080808080)) == 0;
    return (digits * 10 + (digits >> 8)) & UINT64_C(0x00ff00ff00ff00ff);
}

// read_utc_time reads YYMMDDHHMMSSZ and returns whether it is one. UTCTime covers
// 1950 to 2049, in which every fourth year is a leap year.
static inline bool read_utc_time(int64_t *out_seconds, const uint8_t *text) {
    static const uint16_t days_before_month[2][16] = {
        {0, 0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334},
        {0, 0, 31, 60, 91, 121, 152, 182, 213, 244, 274, 305, 335}};
    static const uint8_t month_days[2][16] = {
        {0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31},
        {0, 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31}};
    bool valid = text[12] == 'Z';
    uint64_t date = two_digit_numbers(&valid, load_le64(text), UINT64_MAX);
    uint64_t time = two_digit_numbers(&valid, load_le32(text + 8), UINT32_MAX);
    unsigned two_digit_year = (unsigned)date & 0xff;
    unsigned month = (unsigned)(date >> 16) & 0x0f;
    unsigned day = (unsigned)(date >> 32) & 0xff;
    unsigned hour = (unsigned)(date >> 48);
    unsigned minute = (unsigned)time & 0xff;
    unsigned second = (unsigned)(time >> 16);
    // Counted from 1948, the leap year before 1950.
    unsigned year =
        two_digit_year + (two_digit_year < 50 ? 52 : 0) - (two_digit_year < 50 ? 0 : 48);
    unsigned leap = year % 4 == 0;
    valid &= ((date >> 16) & 0xff) <= 12 && day - 1 < month_days[leap][month] &&
             hour < 24 && minute < 60 && second < 60;
    int64_t days = (int64_t)(year * 365 + (year + 3) / 4 +
                             days_before_month[leap][month] + day - 1) -
                   8036;  // days from 1948 to 1970
    *out_seconds = days * 86400 + hour * 3600 + minute * 60 + second;
    return valid;
}

// read_plain_entry returns whether the entry at `octets` is plain.
static inline bool read_plain_entry(crlcheck_entry *out_entry, const uint8_t *octets,
                                    bool extensions_allowed) {
    unsigned serial_len = octets[3];
    if (serial_len - 1 >= MAX_PLAIN_SERIAL) {
        return false;
    }
    const uint8_t *time = octets + 4 + serial_len;
    const uint8_t *extension = time + TIME_LEN;
    // A first octet of 1 to 127 makes a serial positive and minimal.
    bool valid = octets[0] == DER_SEQUENCE && octets[2] == DER_INTEGER &&
                 octets[4] - 1U < 0x7f && load_le16(time) == (13 << 8 | DER_UTC_TIME);
    valid &= read_utc_time(&out_entry->revocation_date, time + 2);
    // CAs mix entries with a reason and without, so no branch could be predicted: `mask`
    // is all ones with a reason and 0 without (10 ns an entry against 13).
    unsigned extra_len = octets[1] - (2 + serial_len + TIME_LEN);
    uint64_t mask = 0 - (uint64_t)(extra_len >> 3 & extensions_allowed);
    uint64_t differing = load_le64(extension) ^ load_le64(reason_extension);
    differing |= load_le64(extension + 5) ^ load_le64(reason_extension + 5);
    unsigned reason = extension[REASON_LEN - 1];
    differing |= reason >> 5 | (~plain_reasons >> (reason & 31) & 1);
    valid &= extra_len == (mask & REASON_LEN);
    valid &= (differing & mask) == 0;
    out_entry->serial = (crlcheck_slice){octets + 4, serial_len};
    out_entry->reason_code = (uint8_t)((reason & mask) | (CRLCHECK_NO_REASON & ~mask));
    out_entry->has_invalidity_date = false;
    out_entry->invalidity_date = 0;
    return valid;
}

size_t crl_read_plain_entries(crlcheck_crl_parser *parser, crlcheck_entry *out_entries,
                              size_t max_entries, der_reader *window) {
    uint64_t in_list = parser->revoked_end - parser->offset;
    size_t left = in_list < window->len ? (size_t)in_list : window->len;
    if (parser->options.max_entries != 0) {
        uint64_t allowed = parser->options.max_entries - parser->info.num_entries;
        max_entries = allowed < max_entries ? (size_t)allowed : max_entries;
    }
    bool extensions_allowed = parser->info.version == 2;
    uint32_t certificate_issuer = parser->certificate_issuer;
    const uint8_t *octets = window->data;
    size_t num_entries = 0;
    while (num_entries < max_entries && left >= PLAIN_WINDOW) {
        crlcheck_entry *entry = &out_entries[num_entries];
        // Where the next entry starts must not wait for the checks of this one. It
        // follows from one octet, and the branch is predicted.
        size_t len = 2 + (size_t)octets[1];
        if (!read_plain_entry(entry, octets, extensions_allowed)) {
            break;
        }
        entry->certificate_issuer = certificate_issuer;
        octets += len;
        left -= len;
        num_entries++;
    }
    der_reader taken;
    der_take(&taken, window, (size_t)(octets - window->data));
    parser->offset += taken.len;
    parser->info.num_entries += num_entries;
    return num_entries;
}
