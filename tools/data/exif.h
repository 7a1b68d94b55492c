// The one EXIF tag that changes pixels: orientation (EXIF 2.3, TIFF 6.0 tag 0x0112).
#pragma once

#include <cstdint>
#include <span>

namespace hp {

// `block` is a TIFF structure: the body of an APP1 segment behind "Exif\0\0", or a PNG eXIf chunk. Returns 1 to 8; 1
// (upright) where the tag is absent and where the block is malformed in any way, because a bad tag does not make a
// picture unreadable.
int exif_orientation(std::span<const uint8_t> block);

}  // namespace hp
