// The fixed newstyle handshake of NBD as a pure state machine: bytes in, bytes out, until the client has chosen an
// export or either side has had enough.
//
// Bounds: an option's data is at most k_option_bytes_max; a longer one is answered ERR_TOO_BIG and the session
// closed. Encryption is not spoken here: STARTTLS is answered ERR_UNSUP, and the client decides whether to go on.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "gateway/nbd/protocol.h"

namespace corelet::nbd {

inline constexpr usize k_option_bytes_max = 16 * k_kib;

// What a client is told of an export.
struct ExportInfo {
    std::string name;
    std::string description;
    u64 size_bytes = 0;
    bool read_only = false;
    bool fast_zero = false;  // zeroing with leave to make holes never writes the zeroes out
};
[[nodiscard]] u16 transmission_flags(const ExportInfo& info, bool structured_replies);

class ExportDirectory {
  public:
    virtual ~ExportDirectory() = default;
    // The empty name means the default export. Null if there is none. Valid until exports change.
    [[nodiscard]] virtual const ExportInfo* find_export(std::string_view name) const = 0;
    [[nodiscard]] virtual std::vector<std::string> export_names() const = 0;
};

// What the two sides agreed on for the transmission phase.
struct Terms {
    std::string export_name;  // the export's own, also where the client asked for the default
    bool structured_replies = false;
    bool allocation_context = false;
};

class Negotiation {
  public:
    enum class State : u8 { kClientFlags, kOptions, kTransmission, kClosed };

    explicit Negotiation(const ExportDirectory& exports) : exports_(exports) {}
    // What the server says first.
    void greet(std::vector<u8>& output) const;
    // Takes at most one message off the front of `input`, appends the answer to `output` (send it also when this
    // closed the session) and returns how many bytes it took; 0 while the message is incomplete.
    [[nodiscard]] usize step(Bytes input, std::vector<u8>& output);
    // How long the message at the front of `input` is, as far as these bytes tell.
    [[nodiscard]] usize message_bytes(Bytes input) const;

    [[nodiscard]] State state() const { return state_; }
    [[nodiscard]] bool is_over() const { return state_ == State::kTransmission || state_ == State::kClosed; }
    // In kTransmission.
    [[nodiscard]] const Terms& terms() const { return terms_; }
    // In kClosed: why, for people. Empty if the client took its leave.
    [[nodiscard]] const std::string& close_reason() const { return close_reason_; }

  private:
    void take_client_flags(u32 flags);
    void take_option(u32 option, Bytes data, std::vector<u8>& output);
    void refuse_oversized(u32 option, u32 size, std::vector<u8>& output);
    void export_name(Bytes data, std::vector<u8>& output);
    void list(Bytes data, std::vector<u8>& output);
    void info_or_go(Option option, Bytes data, std::vector<u8>& output);
    void structured_reply(Bytes data, std::vector<u8>& output);
    void meta_context(Option option, Bytes data, std::vector<u8>& output);
    void enter_transmission(const ExportInfo& info);
    void close(std::string reason);

    const ExportDirectory& exports_;
    State state_ = State::kClientFlags;
    bool fixed_newstyle_ = false;
    bool no_zeroes_ = false;
    std::optional<std::string> context_export_;  // for which base:allocation was selected
    Terms terms_;
    std::string close_reason_;
};

}  // namespace corelet::nbd
