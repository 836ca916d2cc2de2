#include "app/tool/bay_probe.h"

#include <fmt/format.h>

#include "app/tool/units.h"

namespace corelet::app {

namespace {

// GPT keeps its copy in the last 17 KiB, ZFS its labels in the first and last 512 KiB, MD in the last 128 KiB.
constexpr u64 k_edge_bytes = k_mib;
constexpr usize k_step_bytes = 256 * k_kib;
constexpr u64 k_samples = 256;

Task<Result<bool>> reads_as_zeros(File* file, u64 from, u64 end) {
    for (u64 at = from; at < end; at += k_step_bytes) {
        usize const size = static_cast<usize>(std::min<u64>(k_step_bytes, end - at));
        CO_TRY(Buffer const bytes, co_await file->read(at, size));
        if (std::ranges::any_of(bytes.bytes(), [](u8 byte) { return byte != 0; })) co_return false;
    }
    co_return true;
}

BayFinding foreign(std::string words) {
    return {BayHolds::kForeign, std::move(words), 0};
}

BayFinding member_or_stranger(const DeviceLabel& label, MeshId mesh) {
    if (label.mesh != mesh)
        return foreign(fmt::format("holds corelet {} of another mesh, {}; to lose that, use: corelet join --force",
                                   to_string(label.identity), hex64(label.mesh.v)));
    return {BayHolds::kMember, "holds corelet " + to_string(label.identity), 0};
}

Task<BayFinding> judge_unlabelled(File* file) {
    if (file->size_bytes() < k_device_bytes_min)
        co_return foreign(fmt::format("has {}, and a corelet needs {}", format_size(file->size_bytes()),
                                      format_size(k_device_bytes_min)));
    auto const blank = co_await is_blank(file);
    if (!blank) co_return BayFinding{BayHolds::kBusy, "does not read: " + blank.error().to_string(), 0};
    if (*blank) co_return BayFinding{BayHolds::kBlank, "is blank", 0};
    co_return foreign(
        "holds something that Corelet does not know; if nobody needs it, zero it (blkdiscard -z, or dd "
        "if=/dev/zero), or use: corelet join --device");
}

}  // namespace

Task<Result<bool>> is_blank(File* file) {
    u64 const size = file->size_bytes();
    u64 const edge = std::min(k_edge_bytes, size);
    CO_TRY(bool const head, co_await reads_as_zeros(file, 0, edge));
    if (!head) co_return false;
    CO_TRY(bool const tail, co_await reads_as_zeros(file, size - edge, size));
    if (!tail) co_return false;
    u64 const stride = round_down(size / k_samples, k_block_bytes);
    if (stride == 0) co_return co_await reads_as_zeros(file, 0, size);
    for (u64 i = 1; i < k_samples; ++i) {
        CO_TRY(bool const sample, co_await reads_as_zeros(file, i * stride, i * stride + k_block_bytes));
        if (!sample) co_return false;
    }
    co_return true;
}

Task<DeviceReport> report_device(Env* env, std::string path, MeshId mesh) {
    OpenOptions options;
    options.read_only = true;
    auto const file = co_await env->disk.open(path, options);
    if (!file) co_return DeviceReport{{BayHolds::kBusy, file.error().to_string(), 0}, std::nullopt};
    auto const label = co_await probe_device(file->get());
    if (label) {
        DeviceReport out{member_or_stranger(*label, mesh), std::nullopt};
        if (out.finding.holds == BayHolds::kMember) out.label = *label;
        co_return out;
    }
    switch (label.error().code) {
        case Code::kNotFound:
            co_return DeviceReport{co_await judge_unlabelled(file->get()), std::nullopt};
        case Code::kUnsupported:
            co_return DeviceReport{foreign("holds a corelet of a newer version; update this one"), std::nullopt};
        case Code::kIo:
            co_return DeviceReport{{BayHolds::kBusy, "does not read: " + label.error().to_string(), 0},
                                   std::nullopt};
        default:
            co_return DeviceReport{foreign("holds a corelet that does not read: " + label.error().to_string()),
                                   std::nullopt};
    }
}

}  // namespace corelet::app
