// Taking a stream: recovery is a roll by the next owner (protocols 7).
#pragma once

#include "stream/recovery_core.h"
#include "stream/stream_owner.h"

namespace corelet {

struct TakeOptions {
    StreamOptions stream;
    bool force = false;  // an operator's word instead of the old session's end
    // Ends every segment, its own too, and lists none: for a stream that nobody serves (protocols 7.7). The owner
    // returned has stopped.
    bool caretaker = false;
    Duration timeout = 10_s;  // for all of it; then the stream is given up (protocols 3.4)
};

// Takes the stream, fences, reads, decides, commits, replays into `sink`, and serves. `restore` is called with the
// committed root and its position before the first replayed record; it loads the user's checkpoint. Errors:
// kUnavailable (owned by a live session, or too few fences yet: try again), kLost (acknowledged data is missing;
// says of what), kFenced (somebody took it meanwhile).
using RestoreCheckpoint = std::function<Task<Result<void>>(std::string root, RecordNumber position)>;
[[nodiscard]] Task<Result<std::unique_ptr<StreamOwner>>> take_stream(StreamDeps deps, SpaceId space,
                                                                     TakeOptions options, LogSink& sink,
                                                                     RestoreCheckpoint restore);

}  // namespace corelet
