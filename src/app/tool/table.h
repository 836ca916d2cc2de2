// Columns for people.
#pragma once

#include <string>
#include <vector>

namespace corelet::app {

class Table {
  public:
    explicit Table(std::vector<std::string> headings) { add(std::move(headings)); }
    void add(std::vector<std::string> row) { rows_.push_back(std::move(row)); }
    // Left-aligned, two spaces apart, one line a row.
    [[nodiscard]] std::string to_string() const;

  private:
    std::vector<std::vector<std::string>> rows_;
};

}  // namespace corelet::app
