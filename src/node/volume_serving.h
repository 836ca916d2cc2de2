// A volume as its owner holds it.
#pragma once

#include "base/assert.h"
#include "node/volume_host.h"

namespace corelet {

// A volume and its log live and go together: clients may hold the volume a little longer than the host does.
struct VolumeHost::Serving {
    struct Mounted final : SegmentAdoption {
        [[nodiscard]] Task<Result<bool>> verify(SegmentId segment, u64 end_bytes) override {
            return stream->adopt(segment, end_bytes);
        }
        std::unique_ptr<LogPlacement> placement;  // of its own, if any
        std::unique_ptr<StreamOwner> stream;
        std::unique_ptr<Volume> volume;  // rests on the stream: goes first
        std::unique_ptr<TimedDevice> timed;
        ~Mounted() override { volume.reset(); }
    };
    explicit Serving(std::shared_ptr<Mounted> what) : mounted(std::move(what)) {
        CORELET_ASSERT(mounted && mounted->stream && mounted->volume);
    }
    std::shared_ptr<Mounted> const mounted;  // never null
    std::string name;
    u64 taken_for = 0;               // the attachment when it was taken
    bool is_served = false;          // replayed, and an export of the NBD server
    std::optional<Address> address;  // where that listens for it
    std::string uri;
    std::string export_error;  // why it listens nowhere, or not where it was told to
    Instant listen_again;
    bool publishing = false;
    bool releasing = false;
    bool securing = false;
    Instant horizon_asked_at{INT64_MIN / 2};
    Instant left_slow_at{INT64_MIN / 2};
};

}  // namespace corelet
