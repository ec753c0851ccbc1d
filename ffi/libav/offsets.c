/*
 * Prints, as one JSON object, where the fields that rnb reads and writes lie in the structs of the FFmpeg release
 * whose headers this is compiled against. Run by generate-offsets.ts; fields that a release lacks are left out.
 */
#include <libavcodec/avcodec.h>
#include <libavcodec/bsf.h>
#include <libavcodec/version.h>
#include <libavformat/avformat.h>
#include <libavformat/version.h>
#include <libavutil/frame.h>
#include <libavutil/pixdesc.h>
#include <libavutil/version.h>
#include <stddef.h>
#include <stdio.h>

static const char *separator = "";

static void begin(const char *name)
{
    printf(",\"%s\":{", name);
    separator = "";
}

static void put(const char *name, size_t value)
{
    printf("%s\"%s\":%zu", separator, name, value);
    separator = ",";
}

static void end(void)
{
    printf("}");
}

#define FIELD(type, field) put(#field, offsetof(type, field))

int main(void)
{
    printf("{\"libavcodec\":%d,\"libavformat\":%d,\"libavutil\":%d", LIBAVCODEC_VERSION_MAJOR,
           LIBAVFORMAT_VERSION_MAJOR, LIBAVUTIL_VERSION_MAJOR);

    begin("AVFrame");
    FIELD(AVFrame, data);
    FIELD(AVFrame, linesize);
    FIELD(AVFrame, width);
    FIELD(AVFrame, height);
    FIELD(AVFrame, format);
    FIELD(AVFrame, pts);
    FIELD(AVFrame, flags);
    FIELD(AVFrame, color_range);
    FIELD(AVFrame, colorspace);
    FIELD(AVFrame, decode_error_flags);
    end();

    begin("AVPacket");
    FIELD(AVPacket, pts);
    FIELD(AVPacket, dts);
    FIELD(AVPacket, data);
    FIELD(AVPacket, size);
    FIELD(AVPacket, stream_index);
    FIELD(AVPacket, flags);
    end();

    begin("AVPacketSideData");
    FIELD(AVPacketSideData, data);
    FIELD(AVPacketSideData, size);
    FIELD(AVPacketSideData, type);
    put("sizeof", sizeof(AVPacketSideData));
    end();

    begin("AVCodecParameters");
    FIELD(AVCodecParameters, codec_type);
    FIELD(AVCodecParameters, codec_id);
    FIELD(AVCodecParameters, codec_tag);
    FIELD(AVCodecParameters, extradata);
    FIELD(AVCodecParameters, extradata_size);
    FIELD(AVCodecParameters, bits_per_coded_sample);
    FIELD(AVCodecParameters, width);
    FIELD(AVCodecParameters, height);
    FIELD(AVCodecParameters, field_order);
    FIELD(AVCodecParameters, color_range);
    FIELD(AVCodecParameters, color_space);
#if LIBAVCODEC_VERSION_MAJOR >= 61
    FIELD(AVCodecParameters, coded_side_data);
    FIELD(AVCodecParameters, nb_coded_side_data);
#endif
    end();

    begin("AVCodecDescriptor");
    FIELD(AVCodecDescriptor, id);
    FIELD(AVCodecDescriptor, name);
    FIELD(AVCodecDescriptor, props);
    end();

    begin("AVBSFContext");
    FIELD(AVBSFContext, par_in);
    FIELD(AVBSFContext, par_out);
    end();

    begin("AVFormatContext");
    FIELD(AVFormatContext, iformat);
    FIELD(AVFormatContext, nb_streams);
    FIELD(AVFormatContext, streams);
    end();

    begin("AVInputFormat");
    FIELD(AVInputFormat, name);
    end();

    begin("AVProbeData");
    FIELD(AVProbeData, filename);
    FIELD(AVProbeData, buf);
    FIELD(AVProbeData, buf_size);
    FIELD(AVProbeData, mime_type);
    put("sizeof", sizeof(AVProbeData));
    end();

    begin("AVStream");
    FIELD(AVStream, codecpar);
    FIELD(AVStream, time_base);
    FIELD(AVStream, disposition);
    FIELD(AVStream, discard);
#if LIBAVFORMAT_VERSION_MAJOR <= 60
    FIELD(AVStream, side_data);
    FIELD(AVStream, nb_side_data);
#endif
    end();

    begin("AVRational");
    FIELD(AVRational, num);
    FIELD(AVRational, den);
    end();

    begin("AVPixFmtDescriptor");
    FIELD(AVPixFmtDescriptor, nb_components);
    FIELD(AVPixFmtDescriptor, log2_chroma_w);
    FIELD(AVPixFmtDescriptor, log2_chroma_h);
    FIELD(AVPixFmtDescriptor, flags);
    FIELD(AVPixFmtDescriptor, comp);
    end();

    begin("AVComponentDescriptor");
    FIELD(AVComponentDescriptor, plane);
    FIELD(AVComponentDescriptor, depth);
    put("sizeof", sizeof(AVComponentDescriptor));
    end();

    printf("}\n");
    return 0;
}
