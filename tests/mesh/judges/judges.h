// The judges there are, by what each watches over (the numbers are those of protocols 12).
#pragma once

#include "tests/mesh/judge.h"

namespace corelet {

// 5: every block is linearizable, with pending operations; looked at as the run goes and at its end.
[[nodiscard]] std::unique_ptr<Judge> make_linear_judge(Trial& trial);
// 5: the same of the catalog's keys.
[[nodiscard]] std::unique_ptr<Judge> make_catalog_judge(Trial& trial);
// 9: Raft's own invariants, and one vote a term.
[[nodiscard]] std::unique_ptr<Judge> make_raft_judge(Trial& trial);
// 11: the rules that keep them, each where it applies.
[[nodiscard]] std::unique_ptr<Judge> make_consensus_judge(Trial& trial);
// 9: what an identity has promised (fences, what it prepared and dropped, its incarnation and number) never goes
// back.
[[nodiscard]] std::unique_ptr<Judge> make_promise_judge(Trial& trial);
// 9: what a voter would do, were it asked just now.
[[nodiscard]] std::unique_ptr<Judge> make_what_if_judge(Trial& trial);
// 9: who has lost what it promised is somebody else, and nobody else is; nobody votes as soon as it has started.
[[nodiscard]] std::unique_ptr<Judge> make_identity_judge(Trial& trial);
// 10: a write or a flush that failed is the device's last.
[[nodiscard]] std::unique_ptr<Judge> make_device_judge(Trial& trial);
// 2, 3 and 4: ends, epochs, checkpoints and horizons are for ever; a recovery keeps what was acknowledged; nobody
// answers after a later epoch's recovery.
[[nodiscard]] std::unique_ptr<Judge> make_stream_judge(Trial& trial);
// 2 and 3: whom a recovery has fenced, and that whoever a segment is listed with is up, as they are committed.
[[nodiscard]] std::unique_ptr<Judge> make_recovery_judge(Trial& trial);
// 1 and 8: what is acknowledged is durable at all replicas of its segment, at that moment, and the same everywhere.
[[nodiscard]] std::unique_ptr<Judge> make_log_judge(Trial& trial);
// 7.7: no segment stays open long without an owner.
[[nodiscard]] std::unique_ptr<Judge> make_unserved_judge(Trial& trial);
// 8: one name, one content, over all media and all time.
[[nodiscard]] std::unique_ptr<Judge> make_name_judge(Trial& trial);
// 1: what a volume comes to refer to is durable in as many places as it takes.
[[nodiscard]] std::unique_ptr<Judge> make_put_judge(Trial& trial);
// 7: what is deleted is dead, or at its members.
[[nodiscard]] std::unique_ptr<Judge> make_delete_judge(Trial& trial);
// 7 and 10: who reports a table's slots as clean has heard everybody, and nothing older comes after it.
[[nodiscard]] std::unique_ptr<Judge> make_clean_judge(Trial& trial);
// 8: all maps of one epoch are the same, however they came.
[[nodiscard]] std::unique_ptr<Judge> make_map_judge(Trial& trial);
// 11: what `status` says may be lost may be lost.
[[nodiscard]] std::unique_ptr<Judge> make_can_lose_judge(Trial& trial);
// 1, 3, 6 and 11: were power lost everywhere at this instant, and so many devices as `can_lose` says, a mesh of
// what is durable on the others serves everything acknowledged.
[[nodiscard]] std::unique_ptr<Judge> make_power_loss_judge(Trial& trial);
// 3.1 and 11: sessions last as long as was said, streams change hands only when their owner's session has ended or
// he let go.
[[nodiscard]] std::unique_ptr<Judge> make_session_judge(Trial& trial);
// 10 and 12: writes go on, within what the protocol's times add up to, whatever the promise says is borne.
[[nodiscard]] std::unique_ptr<Judge> make_progress_judge(Trial& trial);
// 10: nothing lies about for ever that nobody needs.
[[nodiscard]] std::unique_ptr<Judge> make_leftover_judge(Trial& trial);
// 10: no more moves than has to, as corelets come and go.
[[nodiscard]] std::unique_ptr<Judge> make_move_judge(Trial& trial);
// 9: who is given up by the mesh itself, and comes back.
[[nodiscard]] std::unique_ptr<Judge> make_out_judge(Trial& trial);
// 10: nothing new goes to who is to be spared.
[[nodiscard]] std::unique_ptr<Judge> make_spared_judge(Trial& trial);
// 10: in the end each live chunk has all its fragments, where the map says.
[[nodiscard]] std::unique_ptr<Judge> make_redundancy_judge(Trial& trial);
// 6: the fragments of each chunk belong together.
[[nodiscard]] std::unique_ptr<Judge> make_encoding_judge(Trial& trial);
// 6, 10: who lies about what it holds is found out, so that it is made good.
[[nodiscard]] std::unique_ptr<Judge> make_audit_judge(Trial& trial);
// 12: tasks and queues stay bounded, requests end.
[[nodiscard]] std::unique_ptr<Judge> make_bounds_judge(Trial& trial);

}  // namespace corelet
