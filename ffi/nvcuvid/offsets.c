/*
 * Prints, as one JSON object, where the fields that rnb reads and writes lie in nvcuvid's structs, for the headers that
 * this is compiled against (Debian's libffmpeg-nvenc-dev). Run by generate-offsets.ts.
 */
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <ffnvcodec/dynlink_cuda.h>
#include <ffnvcodec/dynlink_cuviddec.h>
#include <ffnvcodec/dynlink_nvcuvid.h>

static const char *separator = "";

static void put(const char *name, size_t value)
{
    printf("%s\"%s\":%zu", separator, name, value);
    separator = ",";
}

static void begin(const char *name)
{
    printf("%s\"%s\":{", separator, name);
    separator = "";
}

static void end(size_t size)
{
    put("sizeof", size);
    printf("}");
    separator = ",";
}

#define FIELD(type, field) put(#field, offsetof(type, field))

/* Of a bit field: the byte that it lies in, and the bit's value there. */
static void putFullRange(void)
{
    CUVIDEOFORMAT format;
    const unsigned char *bytes = (const unsigned char *)&format;
    memset(&format, 0, sizeof format);
    format.video_signal_description.video_full_range_flag = 1;
    for (size_t i = 0; i < sizeof format; i++) {
        if (bytes[i] == 0) continue;
        put("video_full_range_flag", i);
        put("video_full_range_flag bit", bytes[i]);
    }
}

int main(void)
{
    printf("{");

    begin("CUVIDDECODECAPS");
    FIELD(CUVIDDECODECAPS, eCodecType);
    FIELD(CUVIDDECODECAPS, eChromaFormat);
    FIELD(CUVIDDECODECAPS, nBitDepthMinus8);
    FIELD(CUVIDDECODECAPS, bIsSupported);
    FIELD(CUVIDDECODECAPS, nNumNVDECs);
    FIELD(CUVIDDECODECAPS, nOutputFormatMask);
    FIELD(CUVIDDECODECAPS, nMaxWidth);
    FIELD(CUVIDDECODECAPS, nMaxHeight);
    FIELD(CUVIDDECODECAPS, nMaxMBCount);
    FIELD(CUVIDDECODECAPS, nMinWidth);
    FIELD(CUVIDDECODECAPS, nMinHeight);
    end(sizeof(CUVIDDECODECAPS));

    begin("CUVIDEOFORMAT");
    FIELD(CUVIDEOFORMAT, codec);
    FIELD(CUVIDEOFORMAT, progressive_sequence);
    FIELD(CUVIDEOFORMAT, bit_depth_luma_minus8);
    FIELD(CUVIDEOFORMAT, bit_depth_chroma_minus8);
    FIELD(CUVIDEOFORMAT, min_num_decode_surfaces);
    FIELD(CUVIDEOFORMAT, coded_width);
    FIELD(CUVIDEOFORMAT, coded_height);
    FIELD(CUVIDEOFORMAT, display_area.left);
    FIELD(CUVIDEOFORMAT, display_area.top);
    FIELD(CUVIDEOFORMAT, display_area.right);
    FIELD(CUVIDEOFORMAT, display_area.bottom);
    FIELD(CUVIDEOFORMAT, chroma_format);
    FIELD(CUVIDEOFORMAT, video_signal_description.matrix_coefficients);
    putFullRange();
    end(sizeof(CUVIDEOFORMAT));

    begin("CUVIDPARSERPARAMS");
    FIELD(CUVIDPARSERPARAMS, CodecType);
    FIELD(CUVIDPARSERPARAMS, ulMaxNumDecodeSurfaces);
    FIELD(CUVIDPARSERPARAMS, ulErrorThreshold);
    FIELD(CUVIDPARSERPARAMS, ulMaxDisplayDelay);
    FIELD(CUVIDPARSERPARAMS, pUserData);
    FIELD(CUVIDPARSERPARAMS, pfnSequenceCallback);
    FIELD(CUVIDPARSERPARAMS, pfnDecodePicture);
    FIELD(CUVIDPARSERPARAMS, pfnDisplayPicture);
    end(sizeof(CUVIDPARSERPARAMS));

    begin("CUVIDSOURCEDATAPACKET");
    FIELD(CUVIDSOURCEDATAPACKET, flags);
    FIELD(CUVIDSOURCEDATAPACKET, payload_size);
    FIELD(CUVIDSOURCEDATAPACKET, payload);
    FIELD(CUVIDSOURCEDATAPACKET, timestamp);
    end(sizeof(CUVIDSOURCEDATAPACKET));

    begin("CUVIDPARSERDISPINFO");
    FIELD(CUVIDPARSERDISPINFO, picture_index);
    FIELD(CUVIDPARSERDISPINFO, progressive_frame);
    FIELD(CUVIDPARSERDISPINFO, top_field_first);
    FIELD(CUVIDPARSERDISPINFO, repeat_first_field);
    FIELD(CUVIDPARSERDISPINFO, timestamp);
    end(sizeof(CUVIDPARSERDISPINFO));

    begin("CUVIDPICPARAMS");
    FIELD(CUVIDPICPARAMS, CurrPicIdx);
    FIELD(CUVIDPICPARAMS, second_field);
    end(sizeof(CUVIDPICPARAMS));

    begin("CUVIDDECODECREATEINFO");
    FIELD(CUVIDDECODECREATEINFO, ulWidth);
    FIELD(CUVIDDECODECREATEINFO, ulHeight);
    FIELD(CUVIDDECODECREATEINFO, ulNumDecodeSurfaces);
    FIELD(CUVIDDECODECREATEINFO, CodecType);
    FIELD(CUVIDDECODECREATEINFO, ChromaFormat);
    FIELD(CUVIDDECODECREATEINFO, ulCreationFlags);
    FIELD(CUVIDDECODECREATEINFO, bitDepthMinus8);
    FIELD(CUVIDDECODECREATEINFO, ulMaxWidth);
    FIELD(CUVIDDECODECREATEINFO, ulMaxHeight);
    FIELD(CUVIDDECODECREATEINFO, display_area.right);
    FIELD(CUVIDDECODECREATEINFO, display_area.bottom);
    FIELD(CUVIDDECODECREATEINFO, OutputFormat);
    FIELD(CUVIDDECODECREATEINFO, DeinterlaceMode);
    FIELD(CUVIDDECODECREATEINFO, ulTargetWidth);
    FIELD(CUVIDDECODECREATEINFO, ulTargetHeight);
    FIELD(CUVIDDECODECREATEINFO, ulNumOutputSurfaces);
    FIELD(CUVIDDECODECREATEINFO, vidLock);
    end(sizeof(CUVIDDECODECREATEINFO));

    begin("CUVIDRECONFIGUREDECODERINFO");
    FIELD(CUVIDRECONFIGUREDECODERINFO, ulWidth);
    FIELD(CUVIDRECONFIGUREDECODERINFO, ulHeight);
    FIELD(CUVIDRECONFIGUREDECODERINFO, ulTargetWidth);
    FIELD(CUVIDRECONFIGUREDECODERINFO, ulTargetHeight);
    FIELD(CUVIDRECONFIGUREDECODERINFO, ulNumDecodeSurfaces);
    FIELD(CUVIDRECONFIGUREDECODERINFO, display_area.right);
    FIELD(CUVIDRECONFIGUREDECODERINFO, display_area.bottom);
    end(sizeof(CUVIDRECONFIGUREDECODERINFO));

    begin("CUVIDPROCPARAMS");
    FIELD(CUVIDPROCPARAMS, progressive_frame);
    FIELD(CUVIDPROCPARAMS, second_field);
    FIELD(CUVIDPROCPARAMS, top_field_first);
    FIELD(CUVIDPROCPARAMS, unpaired_field);
    FIELD(CUVIDPROCPARAMS, output_stream);
    end(sizeof(CUVIDPROCPARAMS));

    begin("CUVIDGETDECODESTATUS");
    FIELD(CUVIDGETDECODESTATUS, decodeStatus);
    end(sizeof(CUVIDGETDECODESTATUS));

    printf("}\n");
    return 0;
}
