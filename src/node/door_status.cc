#include "node/door_status.h"

#include "node/door.pb.h"
#include "wire/message.h"

namespace corelet {

namespace {
constexpr u64 k_hole = 2, k_zeros = 1, k_byte = 4;
}  // namespace

Reply door_status_reply(const std::vector<BlockStatusExtent>& extents) {
    pb::DoorReply message;
    for (const BlockStatusExtent& extent : extents)
        message.add_extents(extent.length_bytes * k_byte + (extent.is_hole ? k_hole : 0) +
                            (extent.reads_zero ? k_zeros : 0));
    return Reply{encode_message(message), {}};
}

Result<std::vector<BlockStatusExtent>> parse_door_status(const Reply& reply, u64 length) {
    TRY(auto const answer, decode_message<pb::DoorReply>(reply.body));
    std::vector<BlockStatusExtent> out;
    u64 covered = 0;
    for (u64 const extent : answer.extents()) {
        covered += extent / k_byte;
        out.push_back({extent / k_byte, (extent & k_hole) != 0, (extent & k_zeros) != 0});
    }
    if (covered == 0 || covered > length) return fail(Code::kIo, "the owner's block status makes no sense");
    return out;
}

}  // namespace corelet
