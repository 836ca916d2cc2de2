/* The words and variables of the model of the log (log.pml), and its judges. */

#ifndef MESH
#define MESH 3                   /* corelets */
#endif
#ifndef WIDTH
#define WIDTH 2                  /* replicas of a segment at full width: R, and as in `sync` also W */
#endif
#ifndef LOSSES
#define LOSSES 1                 /* corelets that may be lost or rot in all, at most WIDTH - 1: the pool's promise */
#endif
#ifndef EPOCHS
#define EPOCHS 2                 /* owners, the first included */
#endif
#ifndef REQUESTS
#define REQUESTS 2
#endif
#ifndef OLD
#define OLD 2                    /* segments of the first owner: A, B, C */
#endif
#ifndef SET_A                    /* their replicas, bit c for corelet c */
#define SET_A 3
#endif
#ifndef SET_B
#define SET_B 5
#endif
#ifndef SET_C
#define SET_C 6
#endif
#ifndef DORMANT_SET
#define DORMANT_SET 0            /* which of them are narrow and therefore dormant (5.2), bit s for segment s */
#endif

#define SEGS (OLD + EPOCHS - 1)
#if SEGS == 3
#define FOR_ALL(P, x) (P(x, 0) && P(x, 1) && P(x, 2))
#define EACH_SEGMENT(STEPS, x) STEPS(x, 0) STEPS(x, 1) STEPS(x, 2)
#elif SEGS == 4
#define FOR_ALL(P, x) (P(x, 0) && P(x, 1) && P(x, 2) && P(x, 3))
#define EACH_SEGMENT(STEPS, x) STEPS(x, 0) STEPS(x, 1) STEPS(x, 2) STEPS(x, 3)
#elif SEGS == 5
#define FOR_ALL(P, x) (P(x, 0) && P(x, 1) && P(x, 2) && P(x, 3) && P(x, 4))
#define EACH_SEGMENT(STEPS, x) STEPS(x, 0) STEPS(x, 1) STEPS(x, 2) STEPS(x, 3) STEPS(x, 4)
#endif
#if MESH == 3
#define ANY_CORELET(P, s, x) (P(s, 0, x) || P(s, 1, x) || P(s, 2, x))
#define EACH_CORELET(STEP, x, s) STEP(x, s, 0) STEP(x, s, 1) STEP(x, s, 2)
#elif MESH == 4
#define ANY_CORELET(P, s, x) (P(s, 0, x) || P(s, 1, x) || P(s, 2, x) || P(s, 3, x))
#define EACH_CORELET(STEP, x, s) STEP(x, s, 0) STEP(x, s, 1) STEP(x, s, 2) STEP(x, s, 3)
#endif
#define NREC REQUESTS
#define own(e) (OLD + (e) - 2)   /* the segment in which the recovery of epoch e > 1 writes */
#define writer(s) ((s) < OLD -> 1 : (s) - OLD + 2)

#define bit(set, i) (((set) >> (i)) & 1)
#define two_or_more(set) ((set) & ((set) - 1))
#define prefix(set) (bit(set, 0) -> (bit(set, 1) -> (bit(set, 2) -> (bit(set, 3) -> 4 : 3) : 2) : 1) : 0)

/* ---- The catalog: linearizable by itself, so one variable each; what is in flight to it stands in proposed[]. ---- */
#define UNLISTED 0
#define DORMANT 1                /* listed, not to be used or fenced before it is activated */
#define LISTED 2
#define ENDED 3                  /* with its end committed */
#define OFF 4                    /* taken off the list */
byte epoch = 1;
byte state[SEGS];
byte end[SEGS];                  /* records of an ended segment that count */

#define NOTHING 0
#define LIST 1
#define ACTIVATE 2
#define DELIST 3
#define END 4
byte proposed[SEGS];             /* by the owner of epoch 1; committed at any later time, or never */

/* ---- Segments: what their one writer has sent. ---- */
byte replicas[SEGS];
byte roll[SEGS];                 /* the number of the roll in the first record: the order of use; 0: not used */
byte start[SEGS];                /* records of the log before its first one */
byte base[SEGS];                 /* requests before its first record */
byte first[SEGS];                /* requests in its first record */
byte sent[SEGS];                 /* records sent */
byte stated[SEGS];               /* the end that first records of later segments state of it (5.3) */
byte mark[SEGS * NREC];          /* in each record: the number of the last one acknowledged when it was sent (4.1) */

#define requests_to(s, i) ((i) == 0 -> base[s] : base[s] + first[s] + (i) - 1)

/* ---- Replicas and corelets. ---- */
byte has[SEGS * MESH];           /* records made durable, and answered for */
byte fenced[SEGS * MESH];        /* the highest epoch stored (3.3) */
byte lost;                       /* corelets whose device is gone or forgot: silent for ever (1.3) */
byte rotten;                     /* corelets that answer and remember, while nothing that they hold verifies */
#define at(s, r) ((s) * MESH + (r))
#define lives(r) (!bit(lost, r))

/* Ended, and a replica of it knows a later epoch: nothing that comes to such a segment is acknowledged or read any more. */
#ifdef UNREDUCED
#define over(s) false
#else
#define knows_later(s, r, x) (bit(replicas[s], r) && fenced[at(s, r)] > writer(s))
#define over(s) (state[s] == ENDED && ANY_CORELET(knows_later, s, _))
#endif

/* ---- Owners, by epoch. ---- */
#define IDLE 0
#define RECOVERING 1
#define SERVING 2
byte phase[EPOCHS + 1];
byte current[EPOCHS + 1];        /* the segment that it appends to */
byte acked[EPOCHS + 1];          /* the last record acknowledged */
byte issued[EPOCHS + 1];         /* the last request */
byte to_fence[EPOCHS + 1];       /* the list that the taking returned */
byte counted[(EPOCHS - 1) * SEGS];   /* replicas whose fences count */
byte found[(EPOCHS - 1) * SEGS];     /* records read from them */
byte value[EPOCHS * REQUESTS];       /* the history that it serves */
#define of(e, s) (((e) - 2) * SEGS + (s))
#define request(e, q) (((e) - 1) * REQUESTS + (q) - 1)

/* ---- The judges. What anybody was told of a request, acknowledged to its writer or served to a reader, stays. ---- */
byte told[REQUESTS + 1];         /* the value; 0: nothing */
#define SERVED 8                 /* with it: served by a recovery and never acknowledged */
/* A variant may be looked at by some of the judges only, to show what else it breaks. */
#define TOLD 1
#define CHAIN 2
#define ENDS 4
#define STREAM 8
#ifndef JUDGES
#define JUDGES (TOLD | CHAIN | ENDS | STREAM)
#endif
hidden byte acknowledged_write_is_kept = 1, served_write_is_kept = 1, log_is_one_chain = 1, ends_stay = 1, stream_is_recoverable = 1;

/* For what is worked out within one step. */
hidden byte i, k, q, r, s, last, high, low, top, chain, seen, marked, own_first, readable;
hidden byte history[REQUESTS + 1];
hidden byte ends[SEGS];

/* What is acknowledged must stand in every history that a later epoch has committed before. */
inline tell(e, number) {
    for (k : e + 1 .. EPOCHS) {
        acknowledged_write_is_kept = phase[k] != SERVING || value[request(k, number)] == value[request(e, number)];
#if JUDGES & TOLD
        assert(acknowledged_write_is_kept)
#endif
    }
    told[number] = value[request(e, number)];
}

#define missing(s, r, i) (bit(replicas[s], r) && !bit(has[at(s, r)], (i) - 1))
#define on_all(s, i) ((i) > 0 && !ANY_CORELET(missing, s, i))

inline acknowledge(e, s, i) {
    for (q : requests_to(s, (i) - 1) + 1 .. requests_to(s, i)) { tell(e, q); }
}
