// SPDX-License-Identifier: MIT
// Why something could not be opened or configured, in words that a person can act on.
#ifndef RUNNEL_BASE_ERROR_HPP
#define RUNNEL_BASE_ERROR_HPP

#include <runnel/base/text.hpp>

namespace runnel {

/// What failed, on what, why, and what to do about it. Copies its texts, up to 255 bytes in all; no allocation.
///
///     pcap: open capture.pcap: No such file or directory: give the path of a capture, or - for standard input
class error {
 public:
  /// `where` is the part of the library, `what` the step, `on` the thing it was done to (may be empty), `why` the
  /// cause, `advice` what to do (may be empty). `number` is the errno, 0 when there is none.
  error(const char* where, const char* what, const char* on, const char* why, const char* advice = "",
        int number = 0) noexcept
      : number_(number) {
    text<sizeof message_> line;
    line << where << ": " << what;
    if (*on != '\0') line << ' ' << on;
    line << ": " << why;
    if (*advice != '\0') line << ": " << advice;
    for (std::size_t i = 0; i <= line.size(); ++i) message_[i] = line.c_str()[i];
  }
  /// The whole sentence, without a newline.
  [[nodiscard]] const char* message() const noexcept { return message_; }
  /// The system's error number, 0 when the system was not asked.
  [[nodiscard]] int number() const noexcept { return number_; }

 private:
  char message_[256];
  int number_;
};

}  // namespace runnel

#endif
