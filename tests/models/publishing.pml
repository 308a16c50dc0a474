/*
 * Two publishers, a clean-up and a reader of one store, of whom one may die anywhere,
 * while a grace period passes. `make interleavings` has spin visit every state.
 *
 * The real code runs under tests/support/scheduler.py in smaller worlds. Here all of them
 * are at work at once. Each step is one store operation, and is named by the function that
 * does it: "code:" stands before the name.
 *
 * What one writer does between two operations that others can notice is one step.
 *
 * What is left out: the tree has one node, and there is one scope. Records of the history
 * stay for a month while they are on the chain, so that a walk along it is one step; and a
 * generation is the number of records before it, because the numbers that are left out, for
 * records that no root names, change nothing but the number. The clean-up of the status
 * objects and of probes touches nothing else.
 */

#define GRACE 1          /* the unit of time */
#define NONE 15
#ifndef NUM_WAITS
#define NUM_WAITS 1      /* grace periods that pass */
#endif
#define NUM_RECORDS 15   /* ids: 0 the start, 1-4 and 5-8 the publishers, 9-12 the clean-up */
#define OLD_NODE 14      /* superseded before the start */
#define LOST_IMAGE 14    /* of a publisher that died before the start */
#define HAS(set, one) (((set) >> (one)) & 1)
#define WITH(set, one) ((set) | (1 << (one)))
#define WITHOUT(set, one) ((set) & ~(1 << (one)))

typedef Record {
    byte previous; byte generation; byte at;
    byte number; byte image; byte node;       /* what the root names */
    byte cleaned;                             /* all is deleted up to this generation */
    short images; short nodes                 /* what the generation gives up */
};

Record record[NUM_RECORDS];
short images = 0, nodes = 0;                  /* the objects in the store */
byte root = 0;                                /* catalog.json: the record that it names */
short published = 1;                          /* the records of all roots so far */
byte replaced[NUM_RECORDS];                   /* when each root but the last was replaced */
short given_up_images = 0, given_up_nodes = 0;    /* by any root so far */
byte now = 0;
byte swapping = 0;                            /* requests for a swap that are under way */
bool may_die = true;

/* To others, to die before a read is to die before the next write. */
#define DIE may_die -> may_die = false; goto end

#define IN_GRACE(r) (HAS(published, r) && ((r) == root || now - replaced[r] < GRACE))

/* No root of the grace period names what is deleted. */
inline delete_image(one) {
    atomic {
        check = 0;
        do
        :: check < NUM_RECORDS -> assert(!IN_GRACE(check) || record[check].image != one); check++
        :: else -> break
        od;
        images = WITHOUT(images, one); check = 0
    }
}

inline delete_node(one) {
    atomic {
        check = 0;
        do
        :: check < NUM_RECORDS -> assert(!IN_GRACE(check) || record[check].node != one); check++
        :: else -> break
        od;
        nodes = WITHOUT(nodes, one); check = 0
    }
}

/* Nobody reads a record that no root names. */
inline forget(one) {
    atomic {
        record[one].previous = 0; record[one].generation = 0; record[one].at = 0;
        record[one].number = 0; record[one].image = 0; record[one].node = 0;
        record[one].cleaned = 0; record[one].images = 0; record[one].nodes = 0
    }
}

/* code: crlcheck.catalog.given_up.given_up_since */
inline given_up_since(held, last) {
    step = held; up_images = 0; up_nodes = 0;
    do
    :: step != NONE && record[step].generation > last ->
        up_images = up_images | record[step].images;
        up_nodes = up_nodes | record[step].nodes;
        step = record[step].previous
    :: else -> break
    od;
    step = 0
}

/* code: crlcheck.catalog.given_up.due_objects */
inline due_objects(held, moment) {
    due_images = 0; due_nodes = 0; cleaned = record[held].cleaned;
    do
    :: true ->
        /* the record after `cleaned` on the chain */
        step = held; next = NONE;
        do
        :: step != NONE && record[step].generation > cleaned -> next = step; step = record[step].previous
        :: else -> break
        od;
        if
        :: next == NONE -> break
        :: next != NONE && moment < record[next].at + GRACE -> break
        :: else ->
            due_images = due_images | record[next].images;
            due_nodes = due_nodes | record[next].nodes;
            cleaned = record[next].generation
        fi
    od;
    step = 0; next = 0
}

/* code: crlcheck.catalog.compare_and_swap.swap; the root, and what must hold of it */
inline swap_root(held, mine) {
    won = (root == held);
    if
    :: won ->
        assert(record[mine].generation > record[root].generation);
        assert(record[mine].number >= record[root].number);
        assert(HAS(images, record[mine].image) && HAS(nodes, record[mine].node));
        assert(!HAS(given_up_images, record[mine].image));
        assert(!HAS(given_up_nodes, record[mine].node));
        given_up_images = given_up_images | record[mine].images;
        given_up_nodes = given_up_nodes | record[mine].nodes;
        replaced[root] = now;
        published = WITH(published, mine);
        root = mine
    :: else
    fi
}

/* Takes the first of what is due. */
inline delete_due(due_images_, due_nodes_) {
    next = 0;
    if
    :: due_images_ != 0 ->
        do :: HAS(due_images_, next) -> break :: else -> next++ od;
        due_images_ = WITHOUT(due_images_, next); delete_image(next)
    :: else ->
        do :: HAS(due_nodes_, next) -> break :: else -> next++ od;
        due_nodes_ = WITHOUT(due_nodes_, next); delete_node(next)
    fi;
    next = 0
}

/* code: crlcheck.publisher.publication.Publication.run */
proctype Publisher(byte number; byte first) {
    byte held, mine, image = NONE, next_image, after, cleaned, at, step, next, check;
    short up_images, up_nodes, due_images, due_nodes;
    bool won;
    d_step { mine = first; next_image = first }
again:
    held = root;                               /* code: crlcheck.catalog.published_set.read_set */
    atomic {
        /* code: crlcheck.catalog.published_set.PublishedSet.closure */
        if
        :: !HAS(nodes, record[held].node) -> assert(!IN_GRACE(held)); goto again
        :: else
        fi;
        /* code: crlcheck.publisher.publication.Publication._forget_given_up */
        if
        :: image != NONE ->
            given_up_since(held, after);
            if :: HAS(up_images, image) -> image = NONE; after = 0 :: else fi;
            up_images = 0; up_nodes = 0
        :: else
        fi;
        /* code: crlcheck.publisher.rules.check_no_rollback */
        if
        :: number <= record[held].number && image == NONE -> goto end
        :: number <= record[held].number && image != NONE -> goto discard
        :: number > record[held].number && image != NONE -> due_objects(held, now); goto ready
        :: else
        fi
    };
    /* code: crlcheck.publisher.publication.Publication._write_images */
    if
    :: DIE
    :: atomic {
            assert(next_image < first + 4);
            image = next_image; next_image++; after = record[held].generation;
            images = WITH(images, image);
            due_objects(held, now)
        }
    fi;
ready:
    /* code: crlcheck.publisher.publication.Publication._delete_given_up */
    do
    :: due_images == 0 && due_nodes == 0 -> break
    :: (due_images | due_nodes) != 0 && may_die -> may_die = false; goto end
    :: atomic { (due_images | due_nodes) != 0 -> delete_due(due_images, due_nodes) }
    od;
    at = now;
    /* code: crlcheck.catalog.compare_and_swap._Proposal.write_nodes */
    if
    :: DIE
    :: atomic { assert(mine < first + 4); nodes = WITH(nodes, mine) }
    fi;
    if
    :: DIE
    :: atomic {
            record[mine].previous = held;
            record[mine].generation = record[held].generation + 1;
            record[mine].at = at; record[mine].number = number;
            record[mine].image = image; record[mine].node = mine; record[mine].cleaned = cleaned;
            record[mine].images = WITH(0, record[held].image);
            record[mine].nodes = WITH(0, record[held].node);
            cleaned = 0;
            /* code: crlcheck.catalog.compare_and_swap.Change.is_late */
            if :: now == at -> at = 0; swapping++ :: else -> at = 0; goto lost fi
        }
    fi;
    if
    :: atomic { may_die -> may_die = false; swapping--; goto end }
    :: atomic {
            swapping--; swap_root(held, mine);
            if :: won -> goto end :: else fi
        }
    fi;
lost:
    /* code: crlcheck.catalog.compare_and_swap._Proposal.delete */
    if
    :: DIE
    :: atomic { delete_node(mine); forget(mine); mine++; held = 0 }
    fi;
    goto again;
discard:
    /* code: crlcheck.publisher.publication.Publication._discard_images */
    delete_image(image);
end:
    skip;
    d_step {                                   /* all ends are alike */
        held = 0; mine = 0; image = 0; next_image = 0; after = 0; cleaned = 0; at = 0;
        up_images = 0; up_nodes = 0; due_images = 0; due_nodes = 0; won = false
    }
}

/* code: crlcheck.publisher.clean_up.clean_up */
proctype Cleaner(byte first) {
    byte held, mine, cleaned, moment = NONE, step, next, check;
    short up_images, up_nodes, due_images, due_nodes, all_images, all_nodes;
    bool won;
    d_step { mine = first }
again:
    /* code: crlcheck.catalog.published_set.read_set */
    atomic { held = root; if :: moment == NONE -> moment = now :: else fi };
    all_images = images;                       /* code: crlcheck.stores.ObjectStore.names */
    d_step { all_nodes = nodes; due_objects(held, moment) };
    do
    :: due_images == 0 && due_nodes == 0 -> break
    :: (due_images | due_nodes) != 0 && may_die -> may_die = false; goto end
    :: atomic {
            (due_images | due_nodes) != 0 -> delete_due(due_images, due_nodes);
            all_images = all_images & images; all_nodes = all_nodes & nodes
        }
    od;
    atomic {
        /* code: crlcheck.catalog.published_set.PublishedSet.objects */
        if
        :: !HAS(nodes, record[held].node) -> assert(!IN_GRACE(held)); goto again
        :: else
        fi;
        given_up_since(held, cleaned);
        all_images = WITHOUT(all_images, record[held].image) & ~up_images;
        all_nodes = WITHOUT(all_nodes, record[held].node) & ~up_nodes;
        up_images = 0; up_nodes = 0;
        if
        :: all_images == 0 && all_nodes == 0 && cleaned == record[held].cleaned -> goto end
        :: else
        fi
    };
    /* code: crlcheck.catalog.compare_and_swap._Proposal.write_nodes */
    if
    :: DIE
    :: d_step {
            assert(mine < first + 4);
            record[mine].previous = held;
            record[mine].generation = record[held].generation + 1;
            record[mine].at = moment; record[mine].number = record[held].number;
            record[mine].image = record[held].image; record[mine].node = record[held].node;
            record[mine].cleaned = cleaned;
            record[mine].images = all_images; record[mine].nodes = all_nodes;
            all_images = 0; all_nodes = 0; cleaned = 0
        }
    fi;
    if
    :: DIE
    :: atomic { swap_root(held, mine); if :: won -> goto end :: else fi }
    fi;
    atomic { forget(mine); mine++; held = 0 };
    goto again;
end:
    skip;
    d_step {
        held = 0; mine = 0; cleaned = 0; moment = 0; won = false;
        up_images = 0; up_nodes = 0; due_images = 0; due_nodes = 0; all_images = 0; all_nodes = 0
    }
}

/* code: crlcheck.checker.store_set.StoreSet.refresh */
proctype Reader() {
    byte held;
    held = root;
    atomic {
        if
        :: !HAS(nodes, record[held].node) -> assert(!IN_GRACE(held)); goto end
        :: else
        fi
    };
    /* code: crlcheck.checker.image_cache.CachedImage.index */
    assert(HAS(images, record[held].image) || !IN_GRACE(held));
end:
    held = 0
}

/* A request for a swap has a time limit far below the grace period. */
proctype Clock() {
    do
    :: atomic { now < NUM_WAITS && swapping == 0 -> now++ }
    :: now == NUM_WAITS -> break
    od
}

init {
    atomic {
        record[0].previous = NONE; record[0].generation = 1; record[0].at = 0;
        record[0].number = 1; record[0].image = 0; record[0].node = 0;
        record[0].nodes = WITH(0, OLD_NODE);
        given_up_nodes = record[0].nodes;
        images = WITH(WITH(0, 0), LOST_IMAGE); nodes = WITH(WITH(0, 0), OLD_NODE);
        run Publisher(2, 1); run Publisher(3, 5); run Cleaner(9); run Reader(); run Clock()
    }
}
