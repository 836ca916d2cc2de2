#include "node/healing_pause.h"

#include <algorithm>

#include "node/node.pb.h"

namespace corelet {

std::string encode_pause(const PauseOrder& order) {
    pb::HealingPause out;
    out.set_number(order.number);
    out.set_ends_wall_ms(order.ends.unix_ns / 1'000'000);
    out.set_length_ms(static_cast<u64>(order.length.ms()));
    return out.SerializeAsString();
}

std::optional<PauseOrder> decode_pause(std::string_view bytes) {
    pb::HealingPause in;
    u64 const longest = static_cast<u64>(k_pause_max.ms());
    bool const parsed = in.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()));
    if (!parsed || in.number() == 0 || in.length_ms() > longest || in.ends_wall_ms() < 0 ||
        in.ends_wall_ms() > INT64_MAX / 1'000'000)
        return std::nullopt;
    return PauseOrder{in.number(), WallTime{in.ends_wall_ms() * 1'000'000},
                      Duration{static_cast<i64>(in.length_ms()) * 1'000'000}};
}

bool PauseClock::look(const std::optional<PauseOrder>& order, Instant now, WallTime wall) {
    if (!order) return false;
    if (number_ != order->number) {
        number_ = order->number;
        first_seen_ = now;
    }
    return wall.unix_ns < order->ends.unix_ns && now - first_seen_ < order->length;
}

}  // namespace corelet
