/* Protocols 4 and 5: how an owner appends, acknowledges and rolls, and what of it the catalog commits. */

/* No record goes to a segment that the catalog could do without, and a new one is the owner's last word on all before (5.1-5.3). A
 * commit that the owner knows of is one that happened: whoever learns of it late acts late, which is among the orders. */
#define spare(s) (phase[1] == SERVING && (s) != current[1] && roll[s] == 0 && !over(s))
#define taken_up(s) (state[s] == LISTED || state[s] == ENDED)
#if defined(USE_BEFORE_LISTED)
#define usable(s) (spare(s) && (taken_up(s) || proposed[s] == LIST))
#elif defined(USE_AFTER_DELIST)
#define usable(s) (spare(s) && (taken_up(s) || (state[s] == OFF && !bit(DORMANT_SET, s))))
#elif defined(USE_DORMANT_EARLY)
#define usable(s) (spare(s) && (taken_up(s) || state[s] == DORMANT) && proposed[s] != DELIST)
#else
#define usable(s) (spare(s) && taken_up(s) && proposed[s] != DELIST)
#endif

/* ---- 4: the owner appends and acknowledges. ---- */

/* The next record: what was issued and is not in this segment yet, else a new request. */
#define can_send(e) (phase[e] == SERVING && (e) < EPOCHS && !over(current[e]) && sent[current[e]] < NREC && \
    (sent[current[e]] == 0 || requests_to(current[e], sent[current[e]]) < REQUESTS) && \
    (sent[current[e]] > 0 || base[current[e]] < REQUESTS))

inline send(e, batch) {
    s = current[e];
    if
    :: sent[s] == 0 -> first[s] = (batch -> issued[e] - base[s] : 1)
    :: else
    fi;
    sent[s]++;
    mark[s * NREC + sent[s] - 1] = acked[e];
    if
    :: requests_to(s, sent[s]) > issued[e] -> issued[e]++; value[request(e, issued[e])] = e
    :: else
    fi
}

#define next_index(e) (acked[e] - start[current[e]] + 1)

#define APPEND(e) \
    :: d_step { can_send(e) -> send(e, false) } \
    :: d_step { phase[e] == SERVING && next_index(e) <= sent[current[e]] && on_all(current[e], next_index(e)) -> \
        acknowledge(e, current[e], next_index(e)); acked[e]++ }

/* ---- 5: roll, list, activate, take off, end. ---- */
inline roll_to(to) {
    s = current[1];
    stated[s] = acked[1] - start[s];
    proposed[s] = END;
    roll[to] = roll[s] + 1;
    start[to] = acked[1];
    base[to] = requests_to(s, stated[s]);
    current[1] = to
}

#define STANDBY(s) \
    :: d_step { usable(s) && proposed[current[1]] == NOTHING -> roll_to(s) } \
    :: d_step { epoch == 1 && state[s] == DORMANT && proposed[s] == NOTHING && spare(s) -> proposed[s] = ACTIVATE } \
    :: d_step { epoch == 1 && (state[s] == LISTED || state[s] == DORMANT) && proposed[s] == NOTHING && spare(s) -> \
        proposed[s] = DELIST }

active proctype first_owner() {
    do
    APPEND(1)
#ifdef BATCH
    :: d_step { can_send(1) && sent[current[1]] == 0 && issued[1] > base[current[1]] + 1 -> send(1, true) }
#endif
#if OLD > 1
    STANDBY(1)
#endif
#if OLD > 2
    STANDBY(2)
#endif
#ifdef LATE_ANSWERS              /* 5.3: answers from the old segment count for nothing any more */
    :: d_step { current[1] != 0 && stated[0] < sent[0] && on_all(0, stated[0] + 1) && !told[requests_to(0, stated[0] + 1)] ->
        acknowledge(1, 0, stated[0] + 1); skip }
#endif
#ifdef OUT_OF_ORDER              /* 4.2: record n when 1..n are on all */
    :: d_step { next_index(1) + 1 <= sent[current[1]] && on_all(current[1], next_index(1) + 1) ->
        acknowledge(1, current[1], next_index(1) + 1); acked[1] = acked[1] + 2 }
#endif
    od
}

/* ---- The catalog commits what was proposed. ---- */

/* Within the promise each segment that a recovery must fence has a replica that can be fenced. */
inline recoverable() {
    for (k : 0 .. SEGS - 1) {
        stream_is_recoverable = state[k] != LISTED || (replicas[k] & ~(lost | rotten)) != 0;
#if JUDGES & STREAM
        assert(stream_is_recoverable)
#endif
    }
    skip                         /* Spin wants a d_step to end in something else than a loop */
}

/* The owner's standby s may yet come into use. */
#define may_use(s) ((s) < OLD && (s) > 0 && (usable(s) || (spare(s) && proposed[s] == LIST)))

/* Steps in a segment that is over, or of an owner who has no other, can change nothing that is read or acknowledged. They are left
 * out, and what only they would look at is made equal, as a seal does (7): so Spin meets fewer states. */
inline settle(s) {
#if !defined(UNREDUCED) && !defined(LATE_ANSWERS)
    sent[s] = end[s];
    for (k : 0 .. MESH - 1) {
        has[at(s, k)] = has[at(s, k)] & ((1 << end[s]) - 1);
        fenced[at(s, k)] = EPOCHS
    }
    for (k : 0 .. NREC - 1) { mark[s * NREC + k] = 0 }
#endif
    skip
}

inline settle_owners() {
    for (s : 0 .. SEGS - 1) {
        if
        :: over(s) -> settle(s)
        :: else
        fi
    }
    for (k : 1 .. EPOCHS - 1) {
        if
        :: phase[k] == SERVING && over(current[k]) && (k > 1 || !(may_use(1) || may_use(OLD - 1))) ->
            phase[k] = IDLE; current[k] = 0; acked[k] = 0; issued[k] = 0
        :: else
        fi
    }
    skip
}

/* Ends are committed in the order of use (5.3). */
#define ends_in_order(s) (proposed[s] != END || ( \
    (roll[0] >= roll[s] || state[0] == ENDED) && \
    (OLD < 2 || roll[1] == 0 || roll[1] >= roll[s] || state[1] == ENDED) && \
    (OLD < 3 || roll[OLD - 1] == 0 || roll[OLD - 1] >= roll[s] || state[OLD - 1] == ENDED)))

inline commit_proposal(s) {
    if
    :: proposed[s] == LIST -> state[s] = (bit(DORMANT_SET, s) -> DORMANT : LISTED)
    :: proposed[s] == DELIST -> state[s] = OFF
    :: proposed[s] == ACTIVATE ->
        if
#ifndef ACTIVATE_NOT_UP          /* 5.2: refused unless all its replicas are held to be up */
        :: replicas[s] & lost
#endif
        :: else -> state[s] = LISTED
        fi
    :: proposed[s] == END -> state[s] = ENDED; end[s] = stated[s];
        settle(s)
    fi;
    proposed[s] = NOTHING;
    recoverable()
}

/* 3.1: every change of a stream's record is conditional on its epoch. */
#ifdef LIST_UNCONDITIONAL
#define in_its_epoch(s) (epoch == 1 || proposed[s] == LIST)
#else
#define in_its_epoch(s) (epoch == 1)
#endif
#define COMMIT(s) :: d_step { in_its_epoch(s) && proposed[s] != NOTHING && ends_in_order(s) -> commit_proposal(s) }

active proctype catalog() {
    do
    COMMIT(0)
#if OLD > 1
    COMMIT(1)
#endif
#if OLD > 2
    COMMIT(2)
#endif
    od
}
