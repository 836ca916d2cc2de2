/* The read lease: promises, renewals, roll, release, restarts, and new owners. To be read beside docs/protocols.md, section 6;
 * docs/model.md says what is left out and why that is sound.
 *
 * Time is a step of its own: a tick lowers every timer by one, on owners and replicas alike. All other steps take no time, and any
 * number of them happen between two ticks. A message is late or lost as long as its step is not taken.
 *
 * Epoch 1 is the old owner O with segments A and its standby B, both listed; the next one has C. Each has two replicas (R = W = 2), here
 * called places 0 to 5: A is on corelets 0 and 1, B on 0 and 2, C on 1 and 2. The last new owner's segment is nobody's concern.
 *
 * A read that O answers is stale when a later owner had acknowledged a write before the read arrived. */

#ifndef T
#define T 2                      /* ticks that a promise lasts */
#endif
#ifndef EPOCHS
#define EPOCHS 2                 /* owners, the first included */
#endif
#define SEGS EPOCHS              /* A, B, and C where there is a third owner */
#define PLACES (2 * SEGS)
#define MESH 3
#define corelet(p) ((p) == 0 || (p) == 2 -> 0 : ((p) == 1 || (p) == 4 -> 1 : 2))
#define writer(s) ((s) < 2 -> 1 : 2)
#define bit(set, i) (((set) >> (i)) & 1)

/* ---- The catalog. ---- */
byte epoch = 1;
byte listed = 3;                 /* segments listed and not ended */
byte end_proposed;               /* that A ends, after the roll to B */

/* ---- Replicas. ---- */
byte promised[PLACES];           /* ticks for which it answers no fence (6.1) */
byte fenced[PLACES];             /* the highest epoch stored */
byte silent[MESH];               /* ticks for which it answers no fence after a restart (6.3) */

/* ---- One request for a promise and its answer in flight for each place; appends and heartbeats are such requests (6.1). ---- */
#define NONE 0
#define ASKED 1
#define ANSWERED 2
byte message[PLACES];
byte age[PLACES];                /* ticks since its first sending, T at most */
byte release[PLACES];            /* the word that ends the promise, in flight (6.2) */

/* ---- Owners, by epoch. ---- */
#define IDLE 0
#define RECOVERING 1
#define SERVING 2
#define RELEASED 3
byte phase[EPOCHS + 1];
byte current[EPOCHS + 1];
byte to_fence[EPOCHS + 1];       /* the list that the taking returned */
byte counted[EPOCHS + 1];        /* segments of which a fence was answered */
byte lease[PLACES];              /* ticks for which the owner counts on this place's promise */

byte written = 1;                /* the judge: the epoch of the last write that was acknowledged */
hidden byte read_is_fresh = 1;
hidden byte k, s;

#define both(s) (lease[2 * (s)] > 0 && lease[2 * (s) + 1] > 0)
#ifdef KEEP_OLD                  /* 6.2: after a roll the lease is that of the new segment only */
#define leased(e) (both(current[e]) || ((e) == 1 && both(0)))
#else
#define leased(e) both(current[e])
#endif
#ifdef RESUME                    /* 6.2: the release is the owner's last word at its epoch */
#define in_office(e) ((phase[e] == SERVING || phase[e] == RELEASED) && (e) < EPOCHS)
#else
#define in_office(e) (phase[e] == SERVING && (e) < EPOCHS)
#endif
#define ours(e, p) ((p) / 2 == current[e] && in_office(e))

/* ---- 6.1, 6.2: owners ask, replicas promise. ---- */
inline drop_message(p) { message[p] = NONE; age[p] = 0 }

#if defined(FROM_RECEIPT)
#define remaining(p) T
#else
#define remaining(p) (T - age[p])
#endif

#define ASK(e, p) \
    :: d_step { ours(e, p) && message[p] == NONE && fenced[p] <= e -> message[p] = ASKED } \
    SEND_AGAIN(e, p) \
    :: d_step { ours(e, p) && message[p] == ANSWERED -> \
        lease[p] = (remaining(p) > lease[p] -> remaining(p) : lease[p]); drop_message(p) }
#ifdef SECOND_SENDING
#define SEND_AGAIN(e, p) :: d_step { ours(e, p) && message[p] != NONE && age[p] > 0 -> age[p] = 0 }
#else
#define SEND_AGAIN(e, p)
#endif

/* A replica that knows a later epoch refuses, and the owner hears nothing that it could count: such requests are left out. */
#define PROMISE(x, p) \
    :: d_step { message[p] == ASKED -> message[p] = ANSWERED; promised[p] = T } \
    :: d_step { release[p] -> release[p] = 0; promised[p] = 0 }

/* The lease is checked when the read has arrived (6.4): the latest moment to arrive is that of the check. */
#ifdef CHECK_BEFORE_ARRIVAL
byte checked[EPOCHS + 1];
#define READ(e) \
    :: d_step { in_office(e) && leased(e) && !checked[e] -> checked[e] = 1 } \
    :: d_step { in_office(e) && checked[e] -> checked[e] = 0; read_is_fresh = written <= e; assert(read_is_fresh) }
#else
#define READ(e) :: d_step { in_office(e) && leased(e) && written > e -> read_is_fresh = 0; assert(read_is_fresh) }
#endif

#if PLACES == 4
#define EACH_PLACE(STEPS, e) STEPS(e, 0) STEPS(e, 1) STEPS(e, 2) STEPS(e, 3)
#else
#define EACH_PLACE(STEPS, e) STEPS(e, 0) STEPS(e, 1) STEPS(e, 2) STEPS(e, 3) STEPS(e, 4) STEPS(e, 5)
#endif

/* Requests in flight for a segment left behind, and promises of one that nobody fences any more, could but delay a fence, or not even
 * that: they are forgotten, so that Spin meets fewer states. */
inline leave(s) {
    for (k : 2 * (s) .. 2 * (s) + 1) {
        drop_message(k);
#ifndef KEEP_OLD
        lease[k] = 0
#endif
    }
    skip
}

inline forget(s) {
    for (k : 2 * (s) .. 2 * (s) + 1) { promised[k] = 0; release[k] = 0; fenced[k] = EPOCHS }
    skip
}

inline release_lease(e) {
    phase[e] = RELEASED;
    for (k : 2 * current[e] .. 2 * current[e] + 1) { release[k] = 1 }
#ifndef RESUME
    leave(current[e])
#endif
    skip
}

#define OWN(e) \
    EACH_PLACE(ASK, e) \
    READ(e) \
    :: d_step { phase[e] == SERVING && (e) < EPOCHS -> release_lease(e) }

active proctype first_owner() {
    do
    OWN(1)
    :: d_step { phase[1] == SERVING && current[1] == 0 -> leave(0); current[1] = 1; end_proposed = 1 }
    od
}

active proctype catalog() {
    do
    :: d_step { end_proposed && epoch == 1 -> end_proposed = 0; listed = listed & ~1; forget(0) }
    od
}

active proctype replicas() {
    do
    EACH_PLACE(PROMISE, _)
    od
}

/* ---- Restarts and time. ---- */
#ifndef RESTARTING
#define RESTARTING 7             /* the corelets that may restart, bit c for corelet c */
#endif
#ifdef FENCE_AFTER_RESTART
#define SILENCE 0
#else
#define SILENCE T
#endif
#define RESTART(c) :: d_step { bit(RESTARTING, c) && silent[c] < T -> \
    for (k : 0 .. PLACES - 1) { promised[k] = (corelet(k) == (c) -> 0 : promised[k]) } silent[c] = SILENCE }

active proctype restarts() {
    do
    RESTART(0)
    RESTART(1)
    RESTART(2)
    od
}

#define less(timer) timer = (timer > 0 -> timer - 1 : 0)
active proctype time() {
    do
    :: d_step {
        for (k : 0 .. PLACES - 1) {
            less(promised[k]);
            less(lease[k]);
            age[k] = (message[k] != NONE && age[k] < T -> age[k] + 1 : age[k])
        }
        for (k : 0 .. MESH - 1) { less(silent[k]) }
        skip }
    od
}

/* ---- New owners: fence one replica of each listed segment (7.2), commit, acknowledge a write. ---- */
#ifdef NO_PROMISE
#define may_answer(p) (silent[corelet(p)] == 0)
#else
#define may_answer(p) (promised[p] == 0 && silent[corelet(p)] == 0)
#endif
#define listed_for(e, p) (phase[e] == RECOVERING && epoch == e && bit(to_fence[e], (p) / 2) && !bit(counted[e], (p) / 2))

/* A fence that meets a promise stores the new epoch at once and is answered when the promise has run out (6.1). */
inline refuse(p) {
    if
    :: message[p] == ASKED -> drop_message(p)
    :: else
    fi
}
#define FENCE(e, p) \
    :: d_step { listed_for(e, p) && fenced[p] < e -> fenced[p] = e; refuse(p) } \
    :: d_step { listed_for(e, p) && fenced[p] == e && may_answer(p) -> counted[e] = counted[e] | (1 << ((p) / 2)) }

/* A write needs all replicas of the own segment (4.2). */
#define writes(e) ((e) == EPOCHS || (fenced[2 * current[e]] <= (e) && fenced[2 * current[e] + 1] <= (e)))

proctype next_owner(byte me) {
    do
    :: d_step { epoch == me - 1 -> epoch = me; phase[me] = RECOVERING; to_fence[me] = listed }
    EACH_PLACE(FENCE, me)
    :: d_step { phase[me] == RECOVERING && epoch == me && counted[me] == to_fence[me] ->
        for (s : 0 .. SEGS - 1) {
            if
            :: bit(listed, s) -> forget(s)
            :: else
            fi
        }
        phase[me] = SERVING; current[me] = (me < EPOCHS -> me : 0); listed = (me < EPOCHS -> 1 << me : 0); to_fence[me] = 0; counted[me] = 0 }
    :: d_step { phase[me] == SERVING && written < me && writes(me) -> written = me }
    OWN(me)
    od
}

init {
    atomic {
        phase[1] = SERVING;
        run next_owner(2);
#if EPOCHS > 2
        run next_owner(3)
#endif
    }
}
