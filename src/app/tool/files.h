// Small files and directories of the machine that the command line keeps: configurations, keys, pid files.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/result.h"

namespace corelet::app {

// Without "." and "..", from the root on; links are not followed, so it is the path that people typed.
[[nodiscard]] std::string absolute_path(const std::string& path);
[[nodiscard]] bool file_exists(const std::string& path);
// A file of at most 4 MiB. kNotFound, kDenied, kIo.
[[nodiscard]] Result<std::string> read_file(const std::string& path);
// The new text or the old one, whatever happens meanwhile; readable by the owner only.
[[nodiscard]] Result<void> replace_file(const std::string& path, const std::string& text);
// With its parents; for the owner only. An existing one is fine.
[[nodiscard]] Result<void> make_directory(const std::string& path);
// Names of what is in it, without "." and "..", sorted; empty if there is no such directory.
[[nodiscard]] std::vector<std::string> list_directory(const std::string& path);
void remove_file(const std::string& path);
// The file's last lines, or nothing.
[[nodiscard]] std::string last_lines(const std::string& path, usize lines);
[[nodiscard]] std::optional<std::string> environment(const char* name);

}  // namespace corelet::app
