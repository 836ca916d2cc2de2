#include "sim/stream.h"

#include <cstring>

namespace corelet::sim {

Stream::Stream(Fabric& fabric, u64 id, std::array<std::shared_ptr<Process>, 2> processes,
               std::array<Address, 2> addresses)
    : fabric_(fabric), id_(id) {
    for (u32 i = 0; i < 2; ++i) {
        sides_[i].process = std::move(processes[i]);
        sides_[i].address = std::move(addresses[i]);
        pipes_[i].stream = resets_[i].stream = credits_[i].stream = this;
        pipes_[i].sender = credits_[i].sender = i;
        resets_[i].side = i;
    }
    fabric_.enlist(*this);
}

Stream::~Stream() {
    not_live();
}

void Stream::not_live() {
    if (!counted_) return;
    counted_ = false;
    unlink();
    fabric_.left();
}

void Stream::wake_side(u32 side) {
    sides_[side].readers.notify_all();
    sides_[side].writers.notify_all();
}

usize Stream::take(u32 side, u8* target, usize room, usize at_least) {
    Pipe& pipe = pipes_[1 - side];
    usize wanted = std::min(room, pipe.received_bytes);
    if (wanted == 0) return 0;
    if (wanted > at_least && fabric_.prng.chance(fabric_.model.partial_read_percent, 100)) {
        wanted = fabric_.prng.between(at_least, wanted);
    }
    usize done = 0;
    while (done < wanted) {
        Buffer& front = pipe.received.front();
        usize const part = std::min(front.size(), wanted - done);
        std::memcpy(target + done, front.data(), part);
        done += part;
        if (part == front.size()) {
            pipe.received.pop_front();
        } else {
            front = front.slice(part);
        }
    }
    pipe.received_bytes -= done;
    pipe.consumed += done;
    CreditEvent& credit = credits_[1 - side];
    if (pipe.sender_waits && !credit.is_scheduled() && !credit.is_linked()) {
        fabric_.engine.queue.schedule_in(credit, fabric_.draw_latency(node(side), node(1 - side)));
    }
    return done;
}

std::optional<Code> Stream::end_of_reading(u32 side) const {
    Pipe const& pipe = pipes_[1 - side];
    switch (sides_[side].state) {
        case State::kOpen:
            return pipe.ended ? std::optional(Code::kClosed) : std::nullopt;
        case State::kClosed:
            return Code::kClosed;
        case State::kReset:
        case State::kGone:
            return Code::kReset;
    }
    return std::nullopt;
}

std::optional<Code> Stream::end_of_writing(u32 side) const {
    switch (sides_[side].state) {
        case State::kOpen:
            return std::nullopt;
        case State::kClosed:
            return Code::kClosed;
        case State::kReset:
        case State::kGone:
            return Code::kReset;
    }
    return std::nullopt;
}

bool Stream::passes(u32 from, u32 to) const {
    const Side& accepted = sides_[1];
    return fabric_.passes(from, to) &&
           !fabric_.is_lost(BindKey{accepted.process->machine, accepted.address.port, {}});
}

usize Stream::room(u32 side) {
    Pipe& pipe = pipes_[side];
    // Acknowledgements come the other way; while that is cut, the sender learns nothing.
    if (pipe.acknowledged != pipe.consumed && passes(node(1 - side), node(side))) {
        pipe.acknowledged = pipe.consumed;
    }
    u64 const outstanding = pipe.sent - pipe.acknowledged;
    usize const window = fabric_.model.window_bytes;
    pipe.sender_waits = outstanding >= window;
    if (!pipe.sender_waits) return window - outstanding;
    CreditEvent& credit = credits_[side];
    if (credit.is_scheduled() || credit.is_linked()) return 0;
    if (sides_[1 - side].state == State::kGone) {
        probe(credit);
    } else if (pipe.acknowledged != pipe.consumed) {
        fabric_.park(credit, node(1 - side), node(side));
    }
    return 0;
}

void Stream::send(u32 side, const BufferChain& data) {
    Pipe& pipe = pipes_[side];
    u32 const from = node(side), to = node(1 - side);
    CORELET_ASSERT(sides_[side].state == State::kOpen);
    VirtualTime arrival = std::max(pipe.last_arrival, fabric_.draw_arrival(from, to, data.size()));
    usize cut = data.size();
    if (data.size() > 1 && fabric_.prng.chance(fabric_.model.split_write_percent, 100)) {
        cut = fabric_.prng.between(1, data.size() - 1);
    }
    for (const Buffer& part : data.parts()) {
        usize const before = std::min(cut, part.size());
        if (before > 0) pipe.in_flight.push_back({arrival, part.slice(0, before)});
        cut -= before;
        if (before == part.size()) continue;
        // The rest comes on its own.
        if (cut == 0 && before > 0) arrival = std::max(arrival, fabric_.draw_arrival(from, to, 0));
        pipe.in_flight.push_back({arrival, part.slice(before)});
    }
    pipe.last_arrival = arrival;
    pipe.sent += data.size();
    if (!pipe.is_scheduled() && !pipe.is_linked()) {
        fabric_.engine.queue.schedule(pipe, pipe.in_flight.front().arrival);
    }
}

void Stream::deliver(Pipe& pipe) {
    auto const keep = shared_from_this();
    if (!passes(node(pipe.sender), node(1 - pipe.sender))) {
        wait_for_link(pipe);
        return;
    }
    pipe.unlink();
    pipe.parked_since = {-1};
    VirtualTime const now = fabric_.engine.now();
    usize bytes = 0;
    while (!pipe.in_flight.empty() && pipe.in_flight.front().arrival <= now) {
        Segment segment = std::move(pipe.in_flight.front());
        pipe.in_flight.pop_front();
        bytes += segment.data.size();
        arrived(pipe, std::move(segment));
    }
    fabric_.engine.trace.record(TraceKind::kSegment, node(1 - pipe.sender), id_, bytes);
    if (!pipe.in_flight.empty()) fabric_.engine.queue.schedule(pipe, pipe.in_flight.front().arrival);
    sides_[1 - pipe.sender].readers.notify_all();
}

void Stream::arrived(Pipe& pipe, Segment segment) {
    u32 const receiver = 1 - pipe.sender;
    Side& to = sides_[receiver];
    if (to.state == State::kOpen) {
        pipe.received_bytes += segment.data.size();
        if (!segment.data.empty()) pipe.received.push_back(std::move(segment.data));
        if (segment.is_end) pipe.ended = true;
        return;
    }
    // Nobody is there to read it: the kernel says so, whether the end was closed, broken, or forgotten in a
    // restart.
    if (!segment.is_end || to.state == State::kGone) send_reset(receiver);
}

void Stream::wait_for_link(Pipe& pipe) {
    VirtualTime const now = fabric_.engine.now();
    if (pipe.parked_since.ns < 0) pipe.parked_since = now;
    if (now - pipe.parked_since >= fabric_.model.stream_timeout) {
        pipe.unlink();
        break_side(pipe.sender);
        return;
    }
    fabric_.park(pipe, node(pipe.sender), node(1 - pipe.sender));
    fabric_.engine.queue.schedule(pipe, pipe.parked_since + fabric_.model.stream_timeout);
}

void Stream::Pipe::link_is_back(Duration retransmitted_in) {
    EventQueue& queue = stream->fabric_.engine.queue;
    VirtualTime const arrival = queue.now() + retransmitted_in;
    for (Segment& segment : in_flight) segment.arrival = std::max(segment.arrival, arrival);
    last_arrival = std::max(last_arrival, arrival);
    if (!in_flight.empty()) queue.schedule(*this, in_flight.front().arrival);
}

void Stream::CreditEvent::link_is_back(Duration retransmitted_in) {
    stream->fabric_.engine.queue.schedule_in(*this, retransmitted_in);
}

void Stream::probe(CreditEvent& credit) {
    Pipe& pipe = pipes_[credit.sender];
    VirtualTime const now = fabric_.engine.now();
    if (pipe.parked_since.ns < 0) pipe.parked_since = now;
    fabric_.engine.queue.schedule_in(credit, Duration{1'000'000'000});
}

void Stream::credit_arrives(CreditEvent& credit) {
    if (sides_[1 - credit.sender].state == State::kGone) {
        auto const keep = shared_from_this();
        if (passes(node(credit.sender), node(1 - credit.sender))) {
            send_reset(1 - credit.sender);
        } else if (fabric_.engine.now() - pipes_[credit.sender].parked_since >= fabric_.model.stream_timeout) {
            break_side(credit.sender);
        } else {
            probe(credit);
        }
        return;
    }
    u32 const from = node(1 - credit.sender), to = node(credit.sender);
    if (!passes(from, to)) {
        fabric_.park(credit, from, to);
        return;
    }
    sides_[credit.sender].writers.notify_all();
}

void Stream::Pipe::clear() {
    in_flight.clear();
    cancel();
    unlink();
}

void Stream::close(u32 side) {
    if (sides_[side].state != State::kOpen) return;
    sides_[side].state = State::kClosed;
    not_live();
    Pipe& incoming = pipes_[1 - side];
    if (incoming.received_bytes != 0) {
        // As the kernel does: data that nobody will read are not acknowledged in silence.
        incoming.received.clear();
        incoming.received_bytes = 0;
        send_reset(side);
    } else {
        Pipe& pipe = pipes_[side];
        pipe.last_arrival = std::max(pipe.last_arrival, fabric_.draw_arrival(node(side), node(1 - side), 0));
        pipe.in_flight.push_back({pipe.last_arrival, {}, true});
        if (!pipe.is_scheduled() && !pipe.is_linked()) {
            fabric_.engine.queue.schedule(pipe, pipe.in_flight.front().arrival);
        }
    }
    wake_side(side);
}

void Stream::release(u32 side) {
    if (sides_[side].process->tearing_down || sides_[side].process->ended) {
        end_by_kernel(side);
        return;
    }
    if (sides_[side].state != State::kOpen) return;
    sides_[side].state = State::kReset;
    not_live();
    pipes_[side].clear();
    send_reset(side);
}

void Stream::end_by_kernel(u32 side) {
    if (sides_[side].process->ending == Ending::kKill) {
        close(side);
        return;
    }
    if (sides_[side].state == State::kOpen) fabric_.engine.stats.count_fault(FaultKind::kHalfOpen);
    sides_[side].state = State::kGone;
    not_live();
    // What was on the wire may still arrive; what waited in the machine's memory is gone.
    Pipe& pipe = pipes_[side];
    // Keep-alives of the other end find out, if nothing else does.
    if (sides_[1 - side].state == State::kOpen && !resets_[1 - side].is_scheduled()) {
        keepalive_[1 - side] = true;
        fabric_.engine.queue.schedule_in(resets_[1 - side], fabric_.model.keepalive);
    }
    usize const arrives = pipe.is_linked() ? 0 : fabric_.prng.between(0, pipe.in_flight.size());
    pipe.in_flight.resize(arrives);
    if (arrives == 0) pipe.clear();
}

void Stream::send_reset(u32 from_side) {
    u32 const to_side = 1 - from_side;
    if (sides_[to_side].state != State::kOpen) return;
    if (resets_[to_side].is_scheduled() && !keepalive_[to_side]) return;
    keepalive_[to_side] = false;
    fabric_.engine.queue.schedule_in(resets_[to_side], fabric_.draw_latency(node(from_side), node(to_side)));
}

void Stream::reset_arrives(u32 side) {
    // Nobody repeats a lost reset: the end stays half-open until it sends something, or a keep-alive is not
    // answered.
    if (!keepalive_[side] && !passes(node(1 - side), node(side))) {
        fabric_.engine.stats.count_fault(FaultKind::kHalfOpen);
        keepalive_[side] = true;
        fabric_.engine.queue.schedule_in(resets_[side], fabric_.model.keepalive);
        return;
    }
    auto const keep = shared_from_this();
    break_side(side);
}

void Stream::break_side(u32 side) {
    if (sides_[side].state != State::kOpen) return;
    sides_[side].state = State::kReset;
    not_live();
    fabric_.engine.trace.record(TraceKind::kReset, node(side), id_);
    pipes_[side].clear();
    // Of what had arrived unread, some may still be read, cut anywhere.
    Pipe& incoming = pipes_[1 - side];
    usize keep = fabric_.prng.between(0, incoming.received_bytes);
    incoming.received_bytes = keep;
    std::deque<Buffer> kept;
    for (Buffer& part : incoming.received) {
        usize const size = std::min(keep, part.size());
        if (size > 0) kept.push_back(part.slice(0, size));
        keep -= size;
    }
    incoming.received = std::move(kept);
    wake_side(side);
}

}  // namespace corelet::sim
