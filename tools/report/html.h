// Html: writes a page that is well-formed XML too; every text and attribute is escaped, every element gets closed.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace hp {

// Text for content and attributes: & < > " ' as entities; bytes that are not UTF-8 and control characters as U+FFFD.
std::string escaped(std::string_view text);

class Html {
 public:
  using Attributes = std::initializer_list<std::pair<std::string_view, std::string>>;

  // Closes its element at the end of its life.
  class [[nodiscard]] Scope {
   public:
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;
    ~Scope() { html_.close(); }

   private:
    friend class Html;
    explicit Scope(Html& html) : html_(html) {}
    Html& html_;
  };

  Scope in(std::string_view tag, Attributes attributes = {});  // on a new line
  void element(std::string_view tag, std::string_view text) { element(tag, {}, text); }
  void element(std::string_view tag, Attributes attributes, std::string_view text);
  void empty(std::string_view tag, Attributes attributes = {});  // <br/>, <img/>, shapes of SVG
  void text(std::string_view text) { page_ += escaped(text); }
  void raw(std::string_view trusted) { page_ += trusted; }  // a style sheet, a doctype: nothing from outside

  const std::string& page() const { return page_; }

 private:
  void start(std::string_view tag, Attributes attributes);
  void close();

  std::string page_;
  std::vector<std::string> open_;
};

}  // namespace hp
