// fuzz_line.c: any 64 bytes as a line. Each way to add up counts that this processor has
// must agree with the plainest, for every bucket.

#include <stdlib.h>
#include <string.h>

#include "harness.h"
#include "image/counts.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    uint8_t line[LINE_SIZE] = {0};
    memcpy(line, data, size < sizeof line ? size : sizeof line);
    uint8_t *copy = copy_exactly(line, sizeof line);
    unsigned sum = 0;
    for (unsigned i = 0; i < BUCKETS_PER_LINE; i++) {
        require(sum_counts(copy, i) == sum);
        require(sum_by_words(copy, i) == sum);
        require(count_at(copy, i) <= LARGEST_COUNT);
        sum += count_at(copy, i);
    }
    free(copy);
    return 0;
}
