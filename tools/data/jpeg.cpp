#include "tools/data/jpeg.h"

#include <csetjmp>
#include <cstdio>
#include <cstring>

// These need <cstdio> above.
#include <jerror.h>
#include <jpeglib.h>

#include <new>

#include "runtime/error.h"
#include "tools/data/exif.h"

namespace hp {
namespace {

// A tiny progressive file can ask for millions of passes over a large picture.
constexpr int max_scans = 500;
constexpr int64_t max_block_visits = 400'000'000;

// libjpeg reports an error by a function that must not return. It jumps back into a member of JpegReader; between
// setjmp and longjmp there are only C frames and trivial locals, so no destructor is skipped.
struct JpegFailure {
  jpeg_error_mgr manager;  // first: libjpeg hands back a pointer to it
  std::jmp_buf back;
  char text[JMSG_LENGTH_MAX];
};

// Of 8 x 8 coefficients, in all channels.
int64_t blocks_of(const jpeg_decompress_struct& info) {
  int64_t blocks = 0;
  for (int i = 0; i < info.num_components; ++i)
    blocks += int64_t{info.comp_info[i].width_in_blocks} * info.comp_info[i].height_in_blocks;
  return blocks;
}

[[noreturn]] void on_error(j_common_ptr info) {
  auto* failure = reinterpret_cast<JpegFailure*>(info->err);
  info->err->format_message(info, failure->text);
  std::longjmp(failure->back, 1);
}

void on_message(j_common_ptr info, int level) {
  if (level < 0 && info->err->msg_code == JWRN_JPEG_EOF) on_error(info);
}

void on_progress(j_common_ptr info) {
  const auto* decompress = reinterpret_cast<j_decompress_ptr>(info);
  const int scans = decompress->input_scan_number;
  if (scans <= max_scans && scans * blocks_of(*decompress) <= max_block_visits) return;
  auto* failure = reinterpret_cast<JpegFailure*>(info->err);
  std::snprintf(failure->text, sizeof failure->text, "%d scans, more than a picture of this size needs", scans);
  std::longjmp(failure->back, 1);
}

// One decompression. Members return false on failure, with the library's words in error().
class JpegReader {
 public:
  JpegReader() {
    info_.err = jpeg_std_error(&failure_.manager);
    failure_.manager.error_exit = on_error;
    failure_.manager.emit_message = on_message;
    progress_.progress_monitor = on_progress;
  }
  ~JpegReader() { jpeg_destroy_decompress(&info_); }
  JpegReader(const JpegReader&) = delete;
  JpegReader& operator=(const JpegReader&) = delete;

  bool read_header(std::span<const uint8_t> bytes) {
    if (setjmp(failure_.back)) return false;
    jpeg_create_decompress(&info_);
    info_.progress = &progress_;
    jpeg_mem_src(&info_, bytes.data(), bytes.size());
    jpeg_save_markers(&info_, JPEG_APP0 + 1, 0xFFFF);
    jpeg_read_header(&info_, TRUE);
    return true;
  }

  bool start(J_COLOR_SPACE colours) {
    if (setjmp(failure_.back)) return false;
    info_.out_color_space = colours;
    info_.dct_method = JDCT_ISLOW;
    info_.do_fancy_upsampling = TRUE;
    jpeg_start_decompress(&info_);
    return true;
  }

  // Fills output_height rows of output_width x channels() bytes and reads on to the end of the file.
  bool read_rows(uint8_t* pixels) {
    if (setjmp(failure_.back)) return false;
    while (info_.output_scanline < info_.output_height) {
      JSAMPROW row = pixels + size_t{info_.output_scanline} * info_.output_width * size_t(info_.output_components);
      jpeg_read_scanlines(&info_, &row, 1);
    }
    jpeg_finish_decompress(&info_);
    return true;
  }

  int64_t width() const { return info_.image_width; }
  int64_t height() const { return info_.image_height; }
  int channels() const { return info_.num_components; }
  // Whether the file can hold its picture: Huffman codes spend at least one bit on a block.
  bool plausible(size_t bytes) const { return info_.arith_code || blocks_of(info_) <= static_cast<int64_t>(bytes) * 8; }
  const char* error() const { return failure_.text; }
  bool out_of_memory() const { return failure_.manager.msg_code == JERR_OUT_OF_MEMORY; }

  int orientation() const {
    static constexpr uint8_t mark[] = {'E', 'x', 'i', 'f', 0, 0};
    for (const auto* marker = info_.marker_list; marker; marker = marker->next) {
      if (marker->data_length < sizeof mark || std::memcmp(marker->data, mark, sizeof mark) != 0) continue;
      return exif_orientation({marker->data + sizeof mark, marker->data_length - sizeof mark});
    }
    return 1;
  }

 private:
  jpeg_decompress_struct info_{};
  jpeg_progress_mgr progress_{};
  JpegFailure failure_{};
};

// a * b / 255 to the nearest integer.
int scaled(int a, int b) {
  const int product = a * b + 128;
  return (product + (product >> 8)) >> 8;
}

// Inks arrive inverted (255 = none), so a channel is light x light: exactly Pillow's conversion, (255 - k) - c (255 -
// k) / 255.
void rgb_from_cmyk(std::span<const uint8_t> inverted, Image& image) {
  for (size_t pixel = 0; pixel < inverted.size() / 4; ++pixel) {
    const uint8_t* light = &inverted[pixel * 4];
    for (size_t c = 0; c < 3; ++c) {
      image.pixels[pixel * 3 + c] = static_cast<uint8_t>(light[3] - scaled(255 - light[c], light[3]));
    }
  }
}

void rgb_from_grey(std::span<const uint8_t> grey, Image& image) {
  for (size_t pixel = 0; pixel < grey.size(); ++pixel) {
    for (size_t c = 0; c < 3; ++c) image.pixels[pixel * 3 + c] = grey[pixel];
  }
}

}  // namespace

Image decode_jpeg(std::span<const uint8_t> bytes, std::string_view name) {
  JpegReader reader;
  const auto check = [&](bool done) {
    if (!done && reader.out_of_memory()) throw std::bad_alloc();  // no fault of the file's
    require(done, "[image] {}: not a readable JPEG file: {}", name, reader.error());
  };
  check(reader.read_header(bytes));
  require(reader.width() * reader.height() <= max_image_area, "[image] {}: {} x {} pixels; expected at most {} pixels",
          name, reader.width(), reader.height(), max_image_area);
  require(reader.plausible(bytes.size()), "[image] {}: truncated JPEG file; got {} bytes for {} x {} pixels", name,
          bytes.size(), reader.width(), reader.height());
  const int channels = reader.channels();
  require(channels == 1 || channels == 3 || channels == 4, "[image] {}: JPEG with {} channels; expected 1, 3 or 4",
          name, channels);

  const int orientation = reader.orientation();  // now: the end of the file frees the markers
  check(reader.start(channels == 1 ? JCS_GRAYSCALE : channels == 3 ? JCS_RGB : JCS_CMYK));
  Image image(static_cast<int>(reader.height()), static_cast<int>(reader.width()));
  if (channels == 3) {
    check(reader.read_rows(image.pixels.data()));
  } else {
    std::vector<uint8_t> raw(image.pixels.size() / 3 * static_cast<size_t>(channels));
    check(reader.read_rows(raw.data()));
    channels == 1 ? rgb_from_grey(raw, image) : rgb_from_cmyk(raw, image);
  }
  return orientation == 1 ? image : orient(image, orientation);
}

}  // namespace hp
