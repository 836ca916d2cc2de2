// What every command knows: how it was called, and how to find the mesh it is about.
#pragma once

#include <functional>
#include <optional>

#include "app/tool/control.h"
#include "app/tool/lab_state.h"

namespace CLI {
class App;
}

namespace corelet::app {

struct Context {
    std::string dir;      // --dir
    std::string connect;  // --connect
    bool json = false;
    std::string command;  // as typed: "volume create"
    std::function<Result<void>()> action;

    // --dir, else CORELET_DIR, made absolute; kInvalid with what to type if neither is there.
    [[nodiscard]] Result<std::string> directory() const;
    [[nodiscard]] Result<Reach> reach() const;
    // The lab that the directory holds, if it does.
    [[nodiscard]] std::optional<Lab> lab() const;
};

// The answer of a command on standard output: the JSON in one line with --json, else the text, whose last line is
// ended if it is not. An empty text prints nothing.
void print_answer(const Context& context, const Json& json, const std::string& text);
// The same; the text is made only if it is what is printed.
void print_answer(const Context& context, const Json& json, const std::function<std::string()>& text);
// How a lab is reached.
[[nodiscard]] Reach lab_reach(const Lab& lab);
// The key that lies in a directory; empty if none does.
[[nodiscard]] std::string read_key(const std::string& directory);
[[nodiscard]] Result<void> save_key(const std::string& directory, const std::string& key);
// 256 bits from the system, as hex digits.
inline constexpr usize k_key_digits = 64;
inline constexpr usize k_key_digits_min = 32;
[[nodiscard]] std::string new_key();
[[nodiscard]] std::string first_line(const std::string& text);

void add_corelet_commands(CLI::App& app, Context& context);
void add_serve_command(CLI::App& app, Context& context);
void add_life_commands(CLI::App& app, Context& context);
void add_heal_commands(CLI::App& app, Context& context);
void add_catalog_commands(CLI::App& app, Context& context);
void add_token_commands(CLI::App& app, Context& context);
void add_discover_command(CLI::App& app, Context& context);
void add_connect_command(CLI::App& app, Context& context);
void add_bays_command(CLI::App& app, Context& context);
void add_status_command(CLI::App& app, Context& context);
void add_events_command(CLI::App& app, Context& context);
void add_pool_commands(CLI::App& app, Context& context);
void add_volume_commands(CLI::App& app, Context& context);
// Below `volume`.
void add_volume_care_commands(CLI::App& volume, Context& context);
void add_plan_commands(CLI::App& app, Context& context);
void add_lab_commands(CLI::App& app, Context& context);

}  // namespace corelet::app
