// A connection: two directions of bytes between two processes, as TCP or a unix socket would carry them. The state
// is shared by both ends and by what is in flight, so that either end may go away first.
#pragma once

#include "rt/sync.h"
#include "sim/fabric.h"

namespace corelet::sim {

class Stream final : public std::enable_shared_from_this<Stream>, public ListNode {
  public:
    enum class State : u8 {
        kOpen,
        kClosed,  // by this side, in order
        kReset,
        kGone,  // its machine lost power: nobody answers
    };
    // Side 0 connected, side 1 accepted.
    struct Side {
        std::shared_ptr<Process> process;
        Address address;
        State state = State::kOpen;
        Notify readers;
        Notify writers;
    };

    Stream(Fabric& fabric, u64 id, std::array<std::shared_ptr<Process>, 2> processes,
           std::array<Address, 2> addresses);
    ~Stream();

    // Of bytes that have arrived at `side`: up to `room` into `target`; returns how many.
    [[nodiscard]] usize take(u32 side, u8* target, usize room, usize at_least);
    // Why a read at `side` cannot wait for more, if so.
    [[nodiscard]] std::optional<Code> end_of_reading(u32 side) const;
    [[nodiscard]] std::optional<Code> end_of_writing(u32 side) const;
    // How many bytes `side` may send now.
    [[nodiscard]] usize room(u32 side);
    void send(u32 side, const BufferChain& data);
    void close(u32 side);
    // The end's owner lets go of it: a reset unless it was closed; at the end of a process what the kernel would
    // do.
    void release(u32 side);
    // As if a reset had arrived at `side`.
    void break_side(u32 side);

    [[nodiscard]] Side& side(u32 index) { return sides_[index]; }
    [[nodiscard]] u64 id() const { return id_; }
    [[nodiscard]] bool is_live() const {
        return sides_[0].state == State::kOpen && sides_[1].state == State::kOpen;
    }

  private:
    // Both ways go by the address that was connected to.
    [[nodiscard]] bool passes(u32 from, u32 to) const;
    struct Segment {
        VirtualTime arrival;
        Buffer data;
        bool is_end = false;  // FIN
    };
    // Bytes from one side to the other. Fires when the first segment in flight arrives.
    struct Pipe final : Event, Parked {
        Stream* stream = nullptr;
        u32 sender = 0;
        std::deque<Segment> in_flight;
        std::deque<Buffer> received;  // by the kernel of the receiver, not read yet
        usize received_bytes = 0;
        u64 sent = 0;
        u64 consumed = 0;      // read by the receiver
        u64 acknowledged = 0;  // of that, what the sender knows
        bool ended = false;    // FIN has arrived
        bool sender_waits = false;
        VirtualTime last_arrival;
        VirtualTime parked_since{-1};
        void fire() override { stream->deliver(*this); }
        void link_is_back(Duration retransmitted_in) override;
        void clear();
    };
    struct ResetEvent final : Event {
        Stream* stream = nullptr;
        u32 side = 0;  // where it arrives
        void fire() override { stream->reset_arrives(side); }
    };
    // Tells a waiting sender that there is room again.
    struct CreditEvent final : Event, Parked {
        Stream* stream = nullptr;
        u32 sender = 0;
        void fire() override { stream->credit_arrives(*this); }
        void link_is_back(Duration retransmitted_in) override;
    };
    [[nodiscard]] u32 node(u32 side) const { return sides_[side].process->node; }
    void deliver(Pipe& pipe);
    void arrived(Pipe& pipe, Segment segment);
    void wait_for_link(Pipe& pipe);
    void send_reset(u32 from_side);
    void reset_arrives(u32 side);
    // A full window is probed now and then: what else would tell that the reader's machine has forgotten it.
    void probe(CreditEvent& credit);
    void credit_arrives(CreditEvent& credit);
    void end_by_kernel(u32 side);
    void wake_side(u32 side);
    void not_live();  // leaves the list of streams that a fault may pick

    Fabric& fabric_;
    u64 id_;
    std::array<Side, 2> sides_;
    std::array<Pipe, 2> pipes_;
    std::array<ResetEvent, 2> resets_;
    std::array<bool, 2> keepalive_{};  // the reset that is scheduled is a keep-alive that finds nobody
    std::array<CreditEvent, 2> credits_;
    bool counted_ = true;  // among the live ones
};

}  // namespace corelet::sim
