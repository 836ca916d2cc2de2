// A corelet that says of what it was given to keep that it has it, whatever became of it.
#pragma once

#include <string>

#include "heal/heal.pb.h"
#include "node/corelet.h"
#include "wire/message.h"

namespace corelet {

inline Task<Result<Reply>> made_up_answer() {
    pb::AuditFragmentReply reply;
    reply.set_tag(std::string(16, '\x4C'));
    co_return Reply{encode_message(reply), {}};
}

// From now on, until it is booted again, every challenge is answered with something.
inline void answer_challenges_untruly(NodeServices& services) {
    services.rpc->register_handler(heal_method::k_audit, [](Request) { return made_up_answer(); });
}

}  // namespace corelet
