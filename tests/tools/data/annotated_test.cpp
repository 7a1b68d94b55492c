// The formats with boxes: PASCAL-VOC and Tiny-ImageNet.
#include <sstream>

#include "fixtures.h"
#include "tools/data/dataset.h"

using namespace hp;
using namespace hp::test;

namespace {

// An object with corners "xmin ymin xmax ymax", and a part whose own name and box must not be read.
std::string object(const std::string& name, const std::string& corners, int difficult = 0) {
  std::istringstream words(corners);
  std::string xmin, ymin, xmax, ymax;
  words >> xmin >> ymin >> xmax >> ymax;
  return fmt::format(
      "<object><name>{}</name><difficult>{}</difficult>"
      "<bndbox><xmin>{}</xmin><ymin>{}</ymin><xmax> {} </xmax><ymax>{}</ymax></bndbox>"
      "<part><name>head</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox></part></"
      "object>",
      name, difficult, xmin, ymin, xmax, ymax);
}

std::string annotation(const std::string& objects, const std::string& size = "<width>40</width><height>30</height>") {
  return "<annotation><size>" + size + "</size>" + objects + "</annotation>";
}

// One picture of 40 x 30 in a complete VOC folder.
void write_voc(const TemporaryFolder& folder, const std::string& xml) {
  write_text(folder / "ImageSets/Main/trainval.txt", "one  1\n");
  write_text(folder / "Annotations/one.xml", xml);
  write_bytes(folder / "JPEGImages/one.jpg", bmp_bytes(plain_image(30, 40, 5)));
}

DataConfig voc(const TemporaryFolder& folder) { return {.type = "voc", .root = folder.path()}; }

std::string voc_error(const std::string& xml, std::vector<std::string> classes = {}) {
  const TemporaryFolder folder;
  write_voc(folder, xml);
  DataConfig config = voc(folder);
  config.classes = std::move(classes);
  return error_of([&] { open_dataset(config, Split::train)->load(0); });
}

}  // namespace

TEST_CASE("a VOC annotation gives labels, difficult-only labels and boxes from 0") {
  const TemporaryFolder folder;
  write_voc(folder, annotation(object("dog", "1 1 40 30") + object("cat", "11 5 20 9", 1) +
                               object("cat", "3 04 10 10") + object("bus", "2.5 2 8 8.0", 1)));
  const auto data = open_dataset(voc(folder), Split::train);
  CHECK(data->multi_label());
  CHECK(data->classes() == std::vector<std::string>{"bus", "cat", "dog"});
  const Sample sample = data->load(0);
  CHECK(sample.id == "one.jpg");
  CHECK(sample.labels == std::vector<int>{1, 2});
  CHECK(sample.difficult == std::vector<int>{0});
  CHECK(sample.clipped_boxes == 0);
  REQUIRE(sample.boxes.size() == 4);
  CHECK(sample.boxes[0] == Box{.category = 2, .x0 = 0, .y0 = 0, .x1 = 40, .y1 = 30});
  CHECK(sample.boxes[1] == Box{.category = 1, .x0 = 10, .y0 = 4, .x1 = 20, .y1 = 9, .difficult = true});
  CHECK(sample.boxes[3] == Box{.category = 0, .x0 = 1.5, .y0 = 1, .x1 = 8, .y1 = 8, .difficult = true});

  DataConfig as_written = voc(folder);
  as_written.voc_boxes = VocBoxes::as_written;
  CHECK(open_dataset(as_written, Split::train)->load(0).boxes[0] ==
        Box{.category = 2, .x0 = 1, .y0 = 1, .x1 = 40, .y1 = 30});
  DataConfig ordered = voc(folder);
  ordered.classes = {"dog", "cat", "bus", "cow"};
  CHECK(open_dataset(ordered, Split::train)->load(0).labels == std::vector<int>{0, 1});
}

TEST_CASE("VOC's own classes come out in their canonical order") {
  const std::vector<std::string> canonical = {
      "aeroplane",   "bicycle", "bird",  "boat",      "bottle", "bus",         "car",   "cat",  "chair", "cow",
      "diningtable", "dog",     "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"};
  std::string objects;
  for (auto name = canonical.rbegin(); name != canonical.rend(); ++name) objects += object(*name, "2 2 9 9");
  const TemporaryFolder folder;
  write_voc(folder, annotation(objects));
  CHECK(open_dataset(voc(folder), Split::train)->classes() == canonical);
}

TEST_CASE("VOC boxes outside the picture are clipped and counted") {
  const TemporaryFolder folder;
  write_voc(folder, annotation(object("dog", "0 5 50 10") + object("dog", "60 5 70 10") + object("dog", "20 5 10 10") +
                               object("dog", "5 5 10 10")));
  const Sample sample = open_dataset(voc(folder), Split::train)->load(0);
  CHECK(sample.clipped_boxes == 3);
  CHECK(sample.boxes == std::vector<Box>{{.category = 0, .x0 = 0, .y0 = 4, .x1 = 40, .y1 = 10},
                                         {.category = 0, .x0 = 4, .y0 = 4, .x1 = 10, .y1 = 10}});
  CHECK(sample.labels == std::vector<int>{0});
}

TEST_CASE("malformed VOC annotations are refused by name") {
  const std::string dog = object("dog", "5 5 10 10");
  CHECK(voc_error(annotation(dog)).empty());
  CHECK(voc_error(annotation(dog, "<width>0</width><height>0</height>")).empty());  // size unknown
  CHECK(contains(voc_error("<annotation><object>"), "one.xml: malformed annotation at byte"));
  CHECK(contains(voc_error(""), "one.xml: malformed annotation"));
  CHECK(contains(voc_error("<other/>"), "one.xml: no <annotation>"));
  CHECK(contains(voc_error(annotation("")), "no objects"));
  CHECK(contains(voc_error(annotation("<object><bndbox/></object>")), "object without a name"));
  CHECK(contains(voc_error(annotation("<object><name>dog</name></object>")),
                 "one.xml, <xmin>: got ''; expected a number"));
  CHECK(contains(voc_error(annotation(object("dog", "5 nan 10 10"))), "<ymin>: got 'nan'"));
  CHECK(contains(voc_error(annotation(object("dog", "5 5x 10 10"))), "<ymin>"));
  CHECK(contains(voc_error(annotation(dog), {"cat", "cow"}), "class 'dog' is not one of the 2 classes"));
  CHECK(contains(voc_error(annotation(dog), {"dog", "dog"}), "listed twice"));
  CHECK(contains(voc_error(annotation(dog, "<width>30</width><height>40</height>")),
                 "one.jpg: the annotation says 30 x 40 pixels; the picture has 40 x 30"));
  CHECK(contains(voc_error(annotation(dog, "<width>-3</width><height>40</height>")), "<width> -3"));
}

TEST_CASE("an incomplete VOC folder is refused by name") {
  const TemporaryFolder folder;
  CHECK(contains(error_of([&] { open_dataset(voc(folder), Split::train); }), "Annotations: no such folder"));
  write_voc(folder, annotation(object("dog", "5 5 10 10")));
  CHECK(contains(error_of([&] { open_dataset(voc(folder), Split::test); }), "test.txt: no such file"));
  write_text(folder / "ImageSets/Main/trainval.txt", "one\ntwo\n");
  CHECK(contains(error_of([&] { open_dataset(voc(folder), Split::train); }), "two.xml: malformed annotation"));
  write_text(folder / "ImageSets/Main/trainval.txt", "one\none\n");
  CHECK(contains(error_of([&] { open_dataset(voc(folder), Split::train); }), "'one.jpg' is listed twice"));
  write_text(folder / "ImageSets/Main/trainval.txt", "\n");
  CHECK(contains(error_of([&] { open_dataset(voc(folder), Split::train); }), "no images"));
}

TEST_CASE("blood cells: 292 and 72 real pictures in VOC's layout") {
  const auto root = shared_data / "bccd-voc/BCCD";
  if (!std::filesystem::exists(root)) {
    MESSAGE("skipped: no bccd-voc");
    return;
  }
  const DataConfig config{.type = "voc", .root = root};
  const auto train = open_dataset(config, Split::train), test = open_dataset(config, Split::test);
  CHECK(train->classes() == std::vector<std::string>{"Platelets", "RBC", "WBC"});
  CHECK_NOTHROW(require_same_classes(*train, *test));
  CHECK(train->size() == 292);
  CHECK(test->size() == 72);
  std::vector<int> images(3), boxes(3);
  for (int64_t i = 0; i < test->size(); ++i) {
    for (const int label : test->item(i).labels) ++images[static_cast<size_t>(label)];
    for (const Box& box : test->item(i).boxes) ++boxes[static_cast<size_t>(box.category)];
    CHECK(test->item(i).difficult.empty());
  }
  CHECK(images == std::vector<int>{39, 69, 68});
  CHECK(boxes == std::vector<int>{69, 805, 71});
  int64_t index = 0;
  while (train->item(index).id != "BloodImage_00001.jpg") ++index;
  const Sample sample = train->load(index);
  CHECK(sample.image.width == 640);
  CHECK(sample.boxes.size() == 19);
  CHECK(sample.boxes[0] == Box{.category = 2, .x0 = 67, .y0 = 314, .x1 = 286, .y1 = 480});
  CHECK(sample.clipped_boxes == 0);
}

TEST_CASE("Tiny-ImageNet: 20 real classes with a box in each image") {
  const auto root = shared_data / "tiny-imagenet-20";
  if (!std::filesystem::exists(root)) {
    MESSAGE("skipped: no tiny-imagenet-20");
    return;
  }
  DataConfig config{.type = "tiny-imagenet", .root = root};
  const auto train = open_dataset(config, Split::train), test = open_dataset(config, Split::test);
  CHECK_NOTHROW(require_same_classes(*train, *test));
  CHECK(train->classes().size() == 20);
  CHECK(train->classes().front() == "ladybug");
  CHECK(train->classes().back() == "snail");
  CHECK(train->size() == 10000);
  CHECK(test->size() == 1000);
  const Sample first = train->load(0);
  CHECK(first.id == "train/n02165456/images/n02165456_0.JPEG");
  CHECK(first.boxes == std::vector<Box>{{.category = 0, .x0 = 16, .y0 = 10, .x1 = 36, .y1 = 27}});
  const Sample banana = test->load(1);
  CHECK(test->classes()[static_cast<size_t>(banana.labels.at(0))] == "banana");
  CHECK(banana.boxes == std::vector<Box>{{.category = banana.labels[0], .x0 = 0, .y0 = 1, .x1 = 64, .y1 = 48}});
  CHECK(banana.clipped_boxes == 0);
  config.train_subset = {.per_class = 7};
  CHECK(open_dataset(config, Split::train)->size() == 140);
}

TEST_CASE("damaged Tiny-ImageNet folders are refused by name") {
  const TemporaryFolder folder;
  const DataConfig config{.type = "tiny-imagenet", .root = folder.path()};
  const auto error = [&](Split split = Split::train) { return error_of([&] { open_dataset(config, split); }); };
  CHECK(contains(error(), "wnids.txt: no such file"));
  write_text(folder / "wnids.txt", "n1\r\nn2\n");
  CHECK(contains(error(), "train/n1/: no such folder"));
  write_text(folder / "train/n1/n1_boxes.txt", "a.JPEG\t0\t0\t5\t5\n");
  write_text(folder / "train/n2/n2_boxes.txt", "b.JPEG\t0\t0\t5\n");
  CHECK(contains(error(), "n2_boxes.txt, line 1: got 4 words; expected image and four numbers"));
  write_text(folder / "train/n2/n2_boxes.txt", "b.JPEG\t0\t0\t5\t5\nc.JPEG 0 0 five 5\n");
  CHECK(contains(error(), "n2_boxes.txt, line 2: got 'five'"));
  write_text(folder / "val/val_annotations.txt", "v.JPEG\tn3\t0\t0\t5\t5\n");
  CHECK(contains(error(Split::test), "class 'n3' is not in wnids.txt"));
  write_text(folder / "train/n2/n2_boxes.txt", "b.JPEG\t0\t0\t5\t5\n");
  write_text(folder / "words.txt", "n1\tcrane, bird\nn2\tcrane\n");
  CHECK(open_dataset(config, Split::train)->classes() == std::vector<std::string>{"n1", "n2"});
  write_text(folder / "wnids.txt", "n1\nn1\n");
  CHECK(contains(error(), "class 'n1' twice"));
  CHECK(contains(
      error_of([&] { open_dataset({.type = "tiny-imagenet", .root = folder.path(), .test = "test"}, Split::test); }),
      "has no labels"));
}
