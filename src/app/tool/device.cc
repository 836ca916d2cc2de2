#include "app/tool/device.h"

#include <fmt/format.h>

#include "app/tool/bay_probe.h"
#include "app/tool/files.h"
#include "app/tool/units.h"

namespace corelet::app {

namespace {

Task<Result<std::unique_ptr<File>>> open_device(Env& env, DeviceArgument device) {
    OpenOptions options;
    options.create = device.size_bytes != 0 && !file_exists(device.path);
    options.size_bytes = options.create ? round_up(device.size_bytes, k_block_bytes) : 0;
    auto file = co_await env.disk.open(device.path, options);
    if (file) co_return file;
    Error error = file.error();
    if (error.code == Code::kNotFound && device.size_bytes == 0)
        error.message =
            fmt::format("there is no '{}'; give a size to make a file: --device {}:4G", device.path, device.path);
    else if (error.code == Code::kNoSpace)
        error.message =
            fmt::format("the host's disk has no room for '{}' of {}; choose a smaller size or another disk",
                        device.path, format_size(device.size_bytes));
    else if (error.code == Code::kConflict)
        error.message = fmt::format("'{}' is in use by another process", device.path);
    co_return std::unexpected(with_context(std::move(error), "device"));
}

}  // namespace

Result<DeviceArgument> parse_device(const std::string& text) {
    DeviceArgument device{text, 0, false};
    usize const colon = text.rfind(':');
    if (colon != std::string::npos && text.find('/', colon) == std::string::npos) {
        TRY(device.size_bytes, parse_size(std::string_view(text).substr(colon + 1)));
        if (device.size_bytes == 0) return fail(Code::kInvalid, "a device of 0 bytes holds nothing");
        device.path = text.substr(0, colon);
    }
    if (device.path.empty())
        return fail(Code::kInvalid, "the device has no path; write --device PATH or --device PATH:SIZE");
    device.path = absolute_path(device.path);
    return device;
}

Task<Result<void>> make_device(Env& env, DeviceArgument device, FormatOptions options) {
    bool const is_new = !file_exists(device.path);
    CO_TRY(auto file, co_await open_device(env, device));
    if (device.must_be_blank) {
        CO_TRY(bool const blank, co_await is_blank(file.get()));
        if (!blank) co_return fail(Code::kExists, fmt::format("device '{}' is not blank", device.path));
    }
    auto formatted = co_await format_device(file.get(), StoreEnv::of(env), std::move(options));
    if (formatted) co_return formatted;
    file.reset();
    if (is_new) (void)co_await env.disk.remove(device.path);
    Error error = formatted.error();
    if (error.code == Code::kExists) error.message += "; to lose what it holds, repeat with --force";
    co_return std::unexpected(with_context(std::move(error), fmt::format("device '{}'", device.path)));
}

}  // namespace corelet::app
