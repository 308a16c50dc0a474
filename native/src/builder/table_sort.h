// table_sort.h: orders the records of a table.

#ifndef CRLCHECK_BUILDER_TABLE_SORT_H
#define CRLCHECK_BUILDER_TABLE_SORT_H

#include "builder/table.h"

// table_sort orders the partitions that no other call has begun, and merges
// duplicates. Several threads may call it at once.
bool table_sort(builder_table *table);

#endif
