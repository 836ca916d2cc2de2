// gateway/nbd: a client's bytes through the handshake and, once that ends in transmission, as requests. However
// they are cut, the answers are the same; what is admitted is within the export and its rules.
#include "gateway/nbd/transmission.h"

#include "base/assert.h"

using namespace corelet;
using namespace corelet::nbd;

namespace {

class Exports final : public ExportDirectory {
  public:
    const ExportInfo* find_export(std::string_view name) const override {
        if (name == "cd") return &cd_;
        return name.empty() || name == "disk" ? &disk_ : nullptr;
    }
    std::vector<std::string> export_names() const override { return {"cd", "disk"}; }

  private:
    ExportInfo disk_{"disk", "a disk", 1 * k_gib, false, true};
    ExportInfo cd_{"cd", "", 64 * k_mib, true, false};
};

struct Outcome {
    Negotiation::State state{};
    usize taken = 0;
    std::vector<u8> said;
};

// `visible`: how many more bytes arrive before each step.
Outcome negotiate(Negotiation& negotiation, Bytes input, usize visible) {
    Outcome out;
    usize arrived = 0;
    while (!negotiation.is_over()) {
        arrived = visible == 0 ? input.size() : std::min(input.size(), arrived + visible);
        Bytes const here = input.subspan(out.taken, arrived - out.taken);
        usize const taken = negotiation.step(here, out.said);
        CORELET_ASSERT(taken <= here.size());
        CORELET_ASSERT(taken != 0 || negotiation.message_bytes(here) > here.size(), "it waits for what is there");
        CORELET_ASSERT(negotiation.message_bytes(here) <= k_option_header_bytes + k_option_bytes_max);
        out.taken += taken;
        if (taken == 0 && arrived == input.size()) break;
    }
    out.state = negotiation.state();
    return out;
}

void check_admitted(const Request& request, const ExportInfo& info) {
    if (request.command == Command::kFlush) return;
    CORELET_ASSERT(request.length > 0 && request.length % 512 == 0 && request.offset % 512 == 0);
    CORELET_ASSERT(request.offset <= info.size_bytes && request.length <= info.size_bytes - request.offset);
    bool const carries_data = request.command == Command::kRead || request.command == Command::kWrite;
    CORELET_ASSERT(!carries_data || request.length <= k_block_maximum);
    bool const changes = request.command == Command::kWrite || request.command == Command::kTrim ||
                         request.command == Command::kWriteZeroes;
    CORELET_ASSERT(!changes || !info.read_only);
}

void transmit(Bytes input, const ExportInfo& info, const Terms& terms) {
    while (input.size() >= k_request_bytes) {
        Request request;
        if (!decode_request(input.data(), request)) return;
        input = input.subspan(k_request_bytes);
        Admission const admission = admit(request, info, terms);
        if (admission.verdict == Verdict::kDisconnect || admission.verdict == Verdict::kClose) return;
        if (admission.verdict == Verdict::kServe) check_admitted(request, info);
        if (admission.verdict == Verdict::kRefuse) CORELET_ASSERT(admission.error != ErrorNumber::kNone);
        if (request.command != Command::kWrite) continue;
        CORELET_ASSERT(request.length <= k_discard_bytes_max);
        input = input.subspan(std::min<usize>(input.size(), request.length));
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const u8* data, usize size) {
    if (size == 0) return 0;
    Bytes const input(data + 1, size - 1);
    Exports const exports;
    Negotiation whole(exports);
    Negotiation pieces(exports);
    Outcome const first = negotiate(whole, input, 0);
    Outcome const second = negotiate(pieces, input, 1 + data[0] % 64);
    CORELET_ASSERT(first.state == second.state && first.taken == second.taken && first.said == second.said);
    if (first.state != Negotiation::State::kTransmission) return 0;
    const ExportInfo* const info = exports.find_export(whole.terms().export_name);
    CORELET_ASSERT(info != nullptr && info->name == whole.terms().export_name);
    transmit(input.subspan(first.taken), *info, whole.terms());
    return 0;
}
