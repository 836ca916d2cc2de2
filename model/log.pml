/* The log of a stream: append, acknowledge, roll, fence, recover. To be read beside docs/protocols.md, sections 4, 5 and 7, whose
 * numbers the comments name; docs/model.md says what is left out and why that is sound.
 *
 * Nothing here waits for anybody: a message that is late, an answer that is lost, a process that is stopped or dead are all the same,
 * a step that is not taken yet or never. So every step is an alternative of some loop, and Spin takes them in every order.
 *
 * A record of a segment is its index 1..NREC there; what a replica holds of a segment is a set of such indices, bit i - 1 for record i.
 * A record carries one request, or, first in its segment and with BATCH, several (5.3: "possibly batched anew"). A request's value is
 * the epoch that first wrote it, so two writers' requests of one number are told apart. Epoch 1 is the old owner O, the others are
 * the new owners N. The first OLD segments are O's: A (open from the start) and its standbys; each N has one of its own.
 *
 * Each rule whose absence must show is a macro set by a variant (variants.txt), and stands where the rule is kept. */

#include "log_state.pml"
#include "log_owner.pml"
#include "log_recovery.pml"

/* ---- Replicas: store what comes, in order, from nobody who was fenced (4.1, 3.3). ---- */
#define stores(s, r) (!over(s) && bit(replicas[s], r) && lives(r) && fenced[at(s, r)] <= writer(s))
#define STORE(x, s, r) :: d_step { stores(s, r) && prefix(has[at(s, r)]) < sent[s] -> \
    has[at(s, r)] = has[at(s, r)] | (1 << prefix(has[at(s, r)])) }
#define STORE_GAP(x, s, r) :: d_step { stores(s, r) && prefix(has[at(s, r)]) + 1 < sent[s] -> \
    has[at(s, r)] = has[at(s, r)] | (2 << prefix(has[at(s, r)])) }
#define STORE_EACH(x, s) EACH_CORELET(STORE, x, s)

active proctype network() {
    do
    EACH_SEGMENT(STORE_EACH, _)
#ifdef GAPS
    EACH_CORELET(STORE_GAP, _, 0)
#endif
    od
}

/* ---- Faults. After the last recovery none matters. ---- */

/* The environment keeps to the promise: LOSSES in all, and fewer while a narrow segment counts, from the proposal on (5.2). */
#define gone (lost | rotten)
#define leaves_one(c, s) (!(state[s] == LISTED || (state[s] == ENDED && end[s] > 0) || proposed[s] == ACTIVATE) || \
    (replicas[s] & ~(gone | (1 << (c)))) != 0)
#define may_lose(c) (phase[EPOCHS] != SERVING && !bit(gone, c) && \
    (gone == 0 || (LOSSES > 1 && !two_or_more(gone))) && FOR_ALL(leaves_one, c))
#define LOSE(x, s, c) :: d_step { may_lose(c) -> lost = lost | (1 << (c)); recoverable() }
/* One corelet at most rots unseen (7: "one rotten replica never decides an end"). */
#define ROT(x, s, c) :: d_step { rotten == 0 && may_lose(c) -> rotten = rotten | (1 << (c)); recoverable() }
#define FORGET_FENCES(x, s, c) :: d_step { lives(c) -> for (k : 0 .. SEGS - 1) { fenced[at(k, c)] = 0 } skip }

active proctype faults() {
    do
#if LOSSES > 0
    EACH_CORELET(LOSE, _, _)
#endif
#ifdef WITH_ROT
    EACH_CORELET(ROT, _, _)
#endif
#ifdef FORGET                    /* 3.3: the epoch is stored durably, so a restart is no step at all */
    EACH_CORELET(FORGET_FENCES, _, _)
#endif
    :: false                     /* a loop has an alternative */
    od
}

#if OLD > 1
#define PREPARE(s, set) replicas[s] = set; proposed[s] = LIST
#endif

init {
    atomic {
        replicas[0] = SET_A; roll[0] = 1; state[0] = LISTED;
#if OLD > 1
        PREPARE(1, SET_B);
#endif
#if OLD > 2
        PREPARE(2, SET_C);
#endif
        phase[1] = SERVING;
        run next_owner(2);
#if EPOCHS > 2
        run next_owner(3)
#endif
    }
}
