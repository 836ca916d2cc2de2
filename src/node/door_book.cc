#include "node/door_book.h"

namespace corelet {

Result<std::shared_ptr<DoorBook::Door>> DoorBook::open(const std::string& volume, Epoch epoch, u64 number,
                                                       u64 known, u64 ticket) {
    CORELET_ASSERT(ticket != 0);
    auto& door = doors_[volume];
    if (door && epoch < door->epoch) return fail(Code::kFenced, "the volume has another owner by now");
    // What ran at an earlier epoch of this corelet is fenced like that of any former owner.
    if (!door || door->epoch < epoch) {
        u64 const highest = door ? door->number : 0;
        door = std::make_shared<Door>();
        door->epoch = epoch;
        door->number = highest;
    }
    if (number < std::max(known, door->number))
        return fail(Code::kConflict, "a later `corelet connect` has taken volume '" + volume + "' over");
    door->number = number;
    door->ticket = ticket;
    return door;
}

Result<DoorBook::Pass> DoorBook::admit(const std::string& volume, Epoch epoch, u64 ticket) {
    auto const found = doors_.find(volume);
    bool const good = found != doors_.end() && found->second->epoch == epoch && found->second->ticket == ticket;
    if (!good || ticket == 0) return fail(Code::kFenced, "this connection to volume '" + volume + "' is over");
    return Pass(found->second);
}

}  // namespace corelet
