/* Protocols 7: how a new owner takes the stream, fences, reads, commits and serves. */

/* ---- 7: recovery is a roll by the next owner. ---- */
#ifdef FENCE_GOSSIP
byte gossip = 1;                 /* a copy of the list as it was when only A stood there */
#endif

inline listed_now(list) {
    list = 0;
    for (k : 0 .. SEGS - 1) {
        if
        :: state[k] == LISTED -> list = list | (1 << k)
        :: else
        fi
    }
    skip
}

/* What is still on its way to the catalog is refused when it comes. What was to be taken off stays unused all the same (5.6). */
inline refuse_proposals() {
    for (k : 0 .. OLD - 1) {
        if
#ifdef LIST_UNCONDITIONAL
        :: proposed[k] == LIST
#endif
        :: proposed[k] == DELIST
        :: else -> proposed[k] = NOTHING
        fi
    }
}

/* 7.1. Whoever was recovering at the epoch before is superseded: its fences only hinder O further, and its commit is refused. */
inline take(e) {
    epoch = e;
    phase[e] = RECOVERING;
    refuse_proposals();
#ifdef FENCE_GOSSIP
    to_fence[e] = gossip;
#else
    listed_now(to_fence[e]);
#endif
#ifndef COMMIT_UNCONDITIONAL
    if
    :: phase[(e) - 1] == RECOVERING -> phase[(e) - 1] = IDLE; forget_recovery((e) - 1)
    :: else
    fi
#endif
}

inline forget_recovery(e) {
    to_fence[e] = 0;
    for (k : 0 .. SEGS - 1) { counted[of(e, k)] = 0; found[of(e, k)] = 0 }
    skip
}

#define verifying(s, r) (bit(lost | rotten, r) -> 0 : has[at(s, r)])
#if defined(SHORTEST)
#define and_found(e, s, r) (counted[of(e, s)] == 0 -> verifying(s, r) : (found[of(e, s)] & verifying(s, r)))
#else
#define and_found(e, s, r) (found[of(e, s)] | verifying(s, r))
#endif

#ifdef EMPTY_COUNTS              /* 7.2: who lost its device has forgotten its promises, and does not count */
#define answers(r) true
#else
#define answers(r) lives(r)
#endif
#define may_fence(e, s, r) (phase[e] == RECOVERING && epoch == e && bit(to_fence[e], s) && bit(replicas[s], r) && answers(r) && \
    !bit(counted[of(e, s)], r) && fenced[at(s, r)] <= e)

/* 7.2, 7.3. What a fenced replica holds changes no more, so that it is read in the same step. */
#if defined(READ_BEFORE_FENCE)
byte read_early[(EPOCHS + 1) * SEGS];
#define FENCE(e, s, r) \
    :: d_step { may_fence(e, s, r) && !bit(read_early[of(e, s)], r) -> \
        found[of(e, s)] = and_found(e, s, r); read_early[of(e, s)] = read_early[of(e, s)] | (1 << (r)) } \
    :: d_step { may_fence(e, s, r) && bit(read_early[of(e, s)], r) -> \
        counted[of(e, s)] = counted[of(e, s)] | (1 << (r)); fenced[at(s, r)] = e }
#elif defined(NO_FENCE)
#define FENCE(e, s, r) :: d_step { may_fence(e, s, r) -> \
        found[of(e, s)] = and_found(e, s, r); counted[of(e, s)] = counted[of(e, s)] | (1 << (r)) }
#else
#define FENCE(e, s, r) :: d_step { may_fence(e, s, r) -> \
        found[of(e, s)] = and_found(e, s, r); counted[of(e, s)] = counted[of(e, s)] | (1 << (r)); fenced[at(s, r)] = e }
#endif

/* R - W + 1 = 1 of each segment, and one more while another replica lives, so that a rotten one decides no end. Without rot the
 * second is left out, which allows more. */
#if defined(WITH_ROT) && !defined(ONE_ROTTEN)
#define enough_of(e, s) (!bit(to_fence[e], s) || (counted[of(e, s)] != 0 && \
    (two_or_more(counted[of(e, s)]) || !two_or_more(replicas[s] & ~lost))))
#else
#define enough_of(e, s) (!bit(to_fence[e], s) || counted[of(e, s)] != 0)
#endif
#define enough(e) FOR_ALL(enough_of, e)
#define FENCE_EACH(e, s) EACH_CORELET(FENCE, e, s)

/* What of segment s belongs to the history: the first record with the highest roll number decides, and overrides what lies beyond the
 * ends that it states (5.3). */
#if defined(LISTING_ORDER)
#define rank(s) ((s) + 1)
#else
#define rank(s) roll[s]
#endif
#if defined(REPLAY_TAIL)
#define known_end(e, s) false
#elif defined(PREDECESSOR_ONLY)
#define states_end(e, t, s) (bit(to_fence[e], t) && bit(found[of(e, t)], 0) && roll[t] == roll[s] + 1)
#define known_end(e, s) (states_end(e, 0, s) || states_end(e, 1, s) || states_end(e, 2, s))
#else
#define known_end(e, s) (rank(s) < top)
#endif

inline limits(e) {
    top = 0;
    for (s : 0 .. SEGS - 1) {
        if
        :: bit(to_fence[e], s) && bit(found[of(e, s)], 0) && rank(s) > top -> top = rank(s)
        :: else
        fi
    }
    for (s : 0 .. SEGS - 1) {
        chain = prefix(found[of(e, s)]);
        if
        :: state[s] == ENDED && !bit(to_fence[e], s) -> ends[s] = end[s]
        :: bit(to_fence[e], s) && known_end(e, s) -> ends[s] = stated[s]
        :: bit(to_fence[e], s) && !known_end(e, s) -> ends[s] = chain
        :: else -> ends[s] = 0
        fi
    }
}

/* The highest mark in any record read (4.1), and no less than what earlier recoveries committed. */
inline read_marks(e) {
    marked = 0;
    for (s : 0 .. SEGS - 1) {
        if
        :: state[s] == ENDED && !bit(to_fence[e], s) && end[s] > 0 && start[s] + end[s] > marked -> marked = start[s] + end[s]
        :: else
        fi;
        for (i : 1 .. NREC) {
            if
            :: bit(to_fence[e], s) && bit(found[of(e, s)], i - 1) && mark[s * NREC + i - 1] > marked -> marked = mark[s * NREC + i - 1]
            :: else
            fi
        }
    }
}

#define counts_for(e, s) (bit(to_fence[e], s) || state[s] == ENDED)
#define good(s, r, i) (bit(replicas[s] & ~(lost | rotten), r) && bit(has[at(s, r)], (i) - 1))

/* Replays record i of segment s. A number that is there already is skipped; a gap, and a record that is nowhere, are losses. */
inline replay(e, s) {
    readable = (bit(to_fence[e], s) -> bit(found[of(e, s)], i - 1) : ANY_CORELET(good, s, i));
    low = requests_to(s, i - 1);
    high = requests_to(s, i);
    if
    :: start[s] + i > last ->
        log_is_one_chain = log_is_one_chain && readable && start[s] + i == last + 1 && low == seen;
        for (q : low + 1 .. high) { history[q] = (readable -> value[request(writer(s), q)] : 0) }
        last = start[s] + i;
        seen = high;
        if
        :: last > marked && own_first == 0 -> own_first = high - low
        :: last <= marked -> base[own(e)] = high
        :: else
        fi
    :: else
    fi
}

/* Leaves in last, seen and history the records, requests and values of the whole history; in ends what each segment has of it. */
inline read_history(e) {
    limits(e);
    read_marks(e);
    last = 0; seen = 0; log_is_one_chain = 1; own_first = 0;
    base[own(e)] = 0;
    for (q : 1 .. REQUESTS) { history[q] = 0 }
    for (k : 1 .. OLD + EPOCHS) {
        for (s : 0 .. SEGS - 1) {
            if
            :: counts_for(e, s) && rank(s) == k && sent[s] > 0 ->
                for (i : 1 .. ends[s]) { replay(e, s) }
            :: else
            fi
        }
    }
    /* The judge: whatever was acknowledged or served is in it, and it is one chain without a gap. */
    for (q : 1 .. REQUESTS) {
        acknowledged_write_is_kept = told[q] == 0 || told[q] > SERVED || told[q] == history[q];
        served_write_is_kept = told[q] < SERVED || told[q] == SERVED + history[q];
#if JUDGES & TOLD
        assert(acknowledged_write_is_kept);
        assert(served_write_is_kept)
#endif
    }
    log_is_one_chain = log_is_one_chain && last >= marked;
#if JUDGES & CHAIN
    assert(log_is_one_chain)
#endif
}

/* 7.4: what lies beyond the mark goes to WIDTH replicas, or to as many as live, in a segment of one's own. */
inline write_own(e) {
    s = own(e);
    r = 0;
    replicas[s] = 0;
    for (k : (e) - 1 .. (e) + MESH - 2) {
        if
        :: lives(k % MESH) && r < WIDTH -> replicas[s] = replicas[s] | (1 << (k % MESH)); r++
        :: else
        fi
    }
    roll[s] = OLD + (e) - 1;
#if defined(TAIL_NOT_COPIED) || defined(END_AT_CHAIN)
    start[s] = last;
    base[s] = seen;
#else
    start[s] = marked;
    first[s] = own_first;
    sent[s] = last - marked;
    for (k : 1 .. NREC) {
        if
        :: k <= sent[s] -> mark[s * NREC + k - 1] = marked
        :: else
        fi
    }
    for (k : 0 .. MESH - 1) {
        if
        :: bit(replicas[s], k) -> has[at(s, k)] = (1 << sent[s]) - 1
        :: else
        fi
    }
#endif
}

/* 7.5: the ends, no further than the mark, and the own segment, in one transaction. An end that was committed stays (12.4). */
inline commit_ends(e) {
    for (s : 0 .. SEGS - 1) {
#ifndef END_AT_CHAIN
        if
        :: ends[s] > 0 && start[s] + ends[s] > marked -> ends[s] = (marked > start[s] -> marked - start[s] : 0)
        :: else
        fi;
#endif
        if
        :: bit(to_fence[e], s) ->
            ends_stay = state[s] != ENDED || end[s] == ends[s];
#if JUDGES & ENDS
            assert(ends_stay);
#endif
            state[s] = ENDED;
            end[s] = ends[s]
        :: state[s] == DORMANT -> state[s] = OFF
        :: else
        fi
    }
    state[own(e)] = LISTED
}

/* 7.6. From here on the whole history may be answered, and is. */
inline serve(e) {
    phase[e] = SERVING;
    current[e] = own(e);
    issued[e] = seen;
    acked[e] = last;
    for (q : 1 .. REQUESTS) { value[request(e, q)] = history[q] }
    told_of_history()
}

inline told_of_history() {
    for (q : 1 .. REQUESTS) {
        if
        :: history[q] && told[q] == 0 -> told[q] = SERVED + history[q]
        :: else
        fi
    }
    skip
}

#ifdef COMMIT_UNCONDITIONAL
#define at_its_epoch(e) true
#else
#define at_its_epoch(e) (epoch == e)
#endif

inline recover(e) {
    read_history(e); write_own(e); commit_ends(e); serve(e); forget_recovery(e)
}

proctype next_owner(byte me) {
    do
    :: d_step { epoch == me - 1 -> take(me) }
    EACH_SEGMENT(FENCE_EACH, me)
    :: d_step { phase[me] == RECOVERING && at_its_epoch(me) && enough(me) -> recover(me); settle_owners(); recoverable() }
    /* 7.7: a caretaker ends its own segment too, in the same transaction, and lists none. */
    :: d_step { phase[me] == RECOVERING && me < EPOCHS && at_its_epoch(me) && enough(me) ->
        recover(me);
        state[own(me)] = ENDED; end[own(me)] = sent[own(me)];
        for (k : 0 .. MESH - 1) { fenced[at(own(me), k)] = EPOCHS }
        settle_owners(); recoverable() }
#ifdef SERVE_BEFORE_COMMIT
    :: d_step { phase[me] == RECOVERING && epoch == me && enough(me) ->
        read_history(me); told_of_history() }
#endif
    APPEND(me)                   /* which for the last of them is not worth a step: nobody recovers after it */
    od
}
