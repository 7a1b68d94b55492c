#include <doctest/doctest.h>

#include <algorithm>
#include <limits>
#include <pugixml.hpp>

#include "runtime/error.h"
#include "tests/files.h"
#include "tests/tools/report/sample_results.h"
#include "tools/report/picture_data.h"
#include "tools/report/report.h"

using namespace hp;
using test::read_file;
using test::TemporaryFolder;

namespace {

// The page, which must be XML.
pugi::xml_document page_of(const TemporaryFolder& folder, const Results& results) {
  write_report(folder.path(), results);
  pugi::xml_document document;
  const auto result = document.load_file((folder / "report.html").c_str(), pugi::parse_full | pugi::parse_ws_pcdata);
  REQUIRE_MESSAGE(result, result.description());
  return document;
}

size_t count(const pugi::xml_document& document, const char* query) { return document.select_nodes(query).size(); }

std::string text(const pugi::xml_document& document, const char* query) {
  return document.select_node(query).node().text().get();
}

}  // namespace

TEST_CASE("a page shows everything a run found out") {
  const TemporaryFolder folder;
  Results r = test::sample_results();
  test::add_gallery(r, folder.path());
  const auto page = page_of(folder, r);
  CHECK(text(page, "//title") == r.name);
  CHECK(text(page, "//h1") == r.name);
  CHECK(count(page, "//dl/div") == r.facts.size());
  CHECK(count(page, "//svg[@class='chart']") == 4);  // two of training, two of metrics
  CHECK(count(page, "//svg[@class='chart']/title") == 4);
  CHECK(count(page, "//svg[@class='chart']/desc[string-length(.) > 20]") == 4);
  CHECK(count(page, "//rect[starts-with(@class, 'bar')]") == r.rows.size());
  CHECK(count(page, "//path[starts-with(@class, 'curve')]") == 2 * r.probes.size());
  CHECK(count(page, "//line[@class='reference']") == 1);  // a uniform map's share, of grids alone
  CHECK(count(page, "//table[@class='differences']/tbody/tr") == r.differences.size());
  const auto significant =
      std::count_if(r.differences.begin(), r.differences.end(), [](auto& d) { return d.significant(); });
  CHECK(count(page, "//tr[contains(@class, 'significant')]") == static_cast<size_t>(significant));
  CHECK(count(page, "//img") == r.gallery.size() * 13);
  CHECK(count(page, "//img[@width='96' and @height='96' and @alt]") == r.gallery.size() * 13);
  CHECK(count(page, "//p[contains(@class, 'banner')]") == 0);
  CHECK(text(page, "//pre").find("\"resamples\": 2000") != std::string::npos);
}

TEST_CASE("a page shows how the backbone was trained") {
  const TemporaryFolder folder;
  Results r = test::sample_results();
  const size_t before = count(page_of(folder, r), "//svg[@class='chart']");
  r.pretraining =
      PretrainingResult{"resnet18_w16", {2.3, 1.1, 0.7}, {0.1, 0.5, 0.8}, {0.1, 0.4, 0.7}, {0.1, 0.05, 0.0}};
  const auto page = page_of(folder, r);
  const char* section = "//section[h2='Pre-training']";
  REQUIRE(count(page, section) == 1);
  CHECK(count(page, "//section[h2='Pre-training']//svg[@class='chart']") == 3);
  CHECK(count(page, "//svg[@class='chart']") == before + 3);
  CHECK(count(page, "//section[h2='Pre-training']//path[starts-with(@class, 'curve')]") == 4);
  CHECK(count(page, "//section[h2='Pre-training']//ul[@class='legend']/li") == 2);
  CHECK(count(page, "//section[h2='Pre-training']//svg/desc[string-length(.) > 20]") == 3);
  for (const char* title : {"Loss", "Top-1", "Learning rate"})
    CHECK(count(page, fmt::format("//section[h2='Pre-training']//figcaption[.='{}']", title).c_str()) == 1);
  // Several labels an image: no accuracy.
  r.pretraining->top1.clear();
  r.pretraining->test_top1.clear();
  CHECK(count(page_of(folder, r), "//section[h2='Pre-training']//svg[@class='chart']") == 2);
}

TEST_CASE("a page needs nothing but itself") {
  const TemporaryFolder folder;
  Results r = test::sample_results();
  test::add_gallery(r, folder.path());
  page_of(folder, r);
  std::string page = read_file(folder / "report.html");
  const size_t json = page.find("<pre>");
  REQUIRE(json != std::string::npos);
  CHECK(page.find("http:") > json);  // only the experiment's own text speaks of an address
  page.resize(json);
  for (const char* word : {"http:", "https:", "<script", "<link", "@import", "url(", "src=\"maps"}) {
    CHECK_MESSAGE(page.find(word) == std::string::npos, word);
  }
}

TEST_CASE("a picture is embedded byte by byte") {
  CHECK(base64({}) == "");
  const std::string words = "Many hands";
  const auto bytes = std::as_bytes(std::span(words));
  CHECK(base64(bytes.first(1)) == "TQ==");
  CHECK(base64(bytes.first(2)) == "TWE=");
  CHECK(base64(bytes.first(3)) == "TWFu");
  CHECK(base64(bytes) == "TWFueSBoYW5kcw==");

  const TemporaryFolder folder;
  write_png(folder / "a.png", Picture{3, 2, std::vector<uint8_t>(18, 200)});
  const auto picture = picture_data(folder / "a.png");
  REQUIRE(picture);
  CHECK(picture->width == 3);
  CHECK(picture->height == 2);
  const std::string png = read_file(folder / "a.png");
  CHECK(picture->url == "data:image/png;base64," + base64(std::as_bytes(std::span(png))));
  test::write_file(folder / "b.png", "<svg onload=alert(1)>, which is no PNG");
  CHECK_FALSE(picture_data(folder / "b.png"));
  test::write_file(folder / "c.png", png.substr(0, 20));
  CHECK_FALSE(picture_data(folder / "c.png"));
  CHECK_FALSE(picture_data(folder / "missing.png"));
}

TEST_CASE("a missing picture leaves a note") {
  const TemporaryFolder folder;
  Results r = test::sample_results();
  test::add_gallery(r, folder.path(), 1);
  std::filesystem::remove(folder.path() / r.gallery[0].maps[3].picture);
  const auto page = page_of(folder, r);
  CHECK(count(page, "//img") == 12);
  CHECK(text(page, "//span[@class='missing']") == "no picture");
}

TEST_CASE("hostile names stay text") {
  const std::string evil = "</style><script>alert('x')</script>\" onload=\"y\" & ]]> \x01\x7F\xFF\xC0\x80 \xE2\x80\xAE";
  const std::string shown =
      "</style><script>alert('x')</script>\" onload=\"y\" & ]]> \uFFFD\uFFFD\uFFFD\uFFFD\uFFFD \uFFFD\uFFFD\uFFFD";
  const TemporaryFolder folder;
  Results r = test::sample_results();
  r.name = evil;
  r.experiment["name"] = evil;
  r.facts.emplace_back(evil, evil);
  r.notes = {evil};
  r.probes[0].name = r.probes[0].head = r.probes[0].loss = evil;
  r.probes[0].average_precision = {0.5};
  r.classes = {evil};
  for (Row& row : r.rows) row.evaluation = row.metric = row.method = row.probe = evil;
  for (Difference& d : r.differences) d.evaluation = d.metric = d.method = d.probe = d.against = evil;
  r.gallery = {{evil, evil, evil, "input.png", {{evil, evil, "a.png"}}}};
  const auto page = page_of(folder, r);
  CHECK(text(page, "//h1") == shown);
  CHECK(count(page, "//script") == 0);
  CHECK(count(page, "//@onload") == 0);
  CHECK(count(page, "//style") == 1);
  const std::string bytes = read_file(folder / "report.html");
  CHECK(bytes.find('\x01') == std::string::npos);
  CHECK(bytes.find('\xFF') == std::string::npos);
}

TEST_CASE("an empty page is a page") {
  const TemporaryFolder folder;
  const auto page = page_of(folder, Results{});
  CHECK(text(page, "//p[@class='lead']") == "No evaluation has results.");
  CHECK(count(page, "//table") == 0);
  CHECK(count(page, "//svg") == 0);
}

TEST_CASE("an incomplete run says so") {
  const TemporaryFolder folder;
  Results r = test::sample_results();
  r.complete = false;
  r.rows.erase(r.rows.begin() + 5);  // one method lacks a probe
  const auto page = page_of(folder, r);
  CHECK(count(page, "//p[@class='banner']") == 1);
  CHECK(count(page, "//rect[starts-with(@class, 'bar')]") == r.rows.size());
}

TEST_CASE("values that are not finite are shown as missing") {
  constexpr double not_a_number = std::numeric_limits<double>::quiet_NaN();
  const TemporaryFolder folder;
  Results r = test::sample_results();
  for (Row& row : r.rows) row.summary = {not_a_number, not_a_number, Interval{not_a_number, not_a_number}, 0, 0, 450};
  for (Difference& d : r.differences) d.summary = {not_a_number, not_a_number, {}, 0, 0, 450};
  r.probes[0].top1 = not_a_number;
  r.probes[1].training_loss.assign(30, not_a_number);
  const auto page = page_of(folder, r);
  CHECK(count(page, "//rect") == 0);
  CHECK(count(page, "//text[.='n/a']") == r.rows.size());
  CHECK(count(page, "//tr[contains(@class, 'significant')]") == 0);
  std::string shown = read_file(folder / "report.html");
  shown = shown.substr(shown.find("<body"));
  CHECK(shown.find("nan") == std::string::npos);
}

TEST_CASE("multi-label probes show the average precision of each class") {
  const TemporaryFolder folder;
  Results r = test::sample_results();
  for (ProbeResult& p : r.probes) {
    p.top1.reset();
    p.top5.reset();
    p.training_top1.clear();
    p.mean_average_precision = 0.5;
    p.average_precision.assign(r.classes.size(), 0.25);
  }
  const auto page = page_of(folder, r);
  CHECK(count(page, "//th[.='mAP']") == 1);
  CHECK(count(page, "//th[.='Top-1']") == 0);
  CHECK(count(page, "//tr[th='horse']/td[.='25.00\u00A0%']") == r.probes.size());
}

TEST_CASE("a folder that cannot be written is an error") {
  const TemporaryFolder folder;
  CHECK_THROWS_AS(write_report(folder / "missing", Results{}), Error);
}
