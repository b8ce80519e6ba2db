// Made by tests/golden/math_coefficients.py: minimax coefficients from the lowest power to the highest.
#pragma once

namespace mc::simd::coef {

// relative error 2^-28.3
inline constexpr float kExpF[] = {0x1.0000000000000p-1f, 0x1.55548e0000000p-3f, 0x1.5554600000000p-5f,
                                  0x1.123b580000000p-7f, 0x1.6db2ca0000000p-10f};
// relative error 2^-61.7
inline constexpr double kExpD[] = {0x1.0000000000000p-1,  0x1.5555555555559p-3,  0x1.555555555555ap-5,
                                   0x1.111111110f6b0p-7,  0x1.6c16c16c14447p-10, 0x1.a01a01afe4b4cp-13,
                                   0x1.a01a01b0bb5b0p-16, 0x1.71ddf85442f91p-19, 0x1.27e4c5947e685p-22,
                                   0x1.af5ebe97bdfd6p-26, 0x1.1f957a254a1c3p-29};
// relative error 2^-30.4
inline constexpr float kLogF[] = {0x1.5555460000000p-2f,  -0x1.ffffee0000000p-3f, 0x1.99a5460000000p-3f,
                                  -0x1.5562dc0000000p-3f, 0x1.2332bc0000000p-3f,  -0x1.fb440a0000000p-4f,
                                  0x1.e651de0000000p-4f,  -0x1.e2e5540000000p-4f, 0x1.1b3ad40000000p-4f};
// relative error 2^-62.3
inline constexpr double kLogD[] = {0x1.5555555555555p-1, 0x1.9999999999b9ep-2, 0x1.2492492456aabp-2,
                                   0x1.c71c722a09951p-3, 0x1.745cebcb95468p-3, 0x1.3b1e825e3c7c3p-3,
                                   0x1.0f8a64f67e34cp-3, 0x1.0ddd1f8ec88e1p-3};
// relative error 2^-37.6
inline constexpr float kSinF[] = {-0x1.5555560000000p-3f, 0x1.1111080000000p-7f, -0x1.a00f940000000p-13f,
                                  0x1.6cd6020000000p-19f};
// relative error 2^-43.2
inline constexpr float kCosF[] = {0x1.5555560000000p-5f, -0x1.6c16b80000000p-10f, 0x1.a011180000000p-16f,
                                  -0x1.2429040000000p-22f};
// relative error 2^-68.8
inline constexpr double kSinD[] = {-0x1.5555555555555p-3, 0x1.111111111110bp-7,   -0x1.a01a01a018ab4p-13,
                                   0x1.71de3a53356c6p-19, -0x1.ae645292e3a8ap-26, 0x1.61208f313f16cp-33,
                                   -0x1.aaa37e7299959p-41};
// relative error 2^-75.2
inline constexpr double kCosD[] = {0x1.5555555555555p-5,   -0x1.6c16c16c16c10p-10, 0x1.a01a01a018dc0p-16,
                                   -0x1.27e4fb75fa98cp-22, 0x1.1eed8ca064d38p-29,  -0x1.9393347fdc844p-37,
                                   0x1.aac3f60b39402p-45};
// relative error 2^-32.6
inline constexpr float kTanhF[] = {-0x1.5555540000000p-2f, 0x1.11106c0000000p-3f,  -0x1.b9ef800000000p-5f,
                                   0x1.6394f40000000p-6f,  -0x1.0c21c20000000p-7f, 0x1.197d220000000p-9f};
// relative error 2^-29.6
inline constexpr float kErfF[] = {0x1.06eba80000000p-3f,  -0x1.81273e0000000p-2f, 0x1.ce2cf80000000p-4f,
                                  -0x1.b7f90a0000000p-6f, 0x1.54059c0000000p-8f,  -0x1.a3f6600000000p-11f,
                                  0x1.49686e0000000p-14f};
// relative error 2^-34.9
inline constexpr float kLogErfcF[] = {
    0x1.cf24ac0000000p-13f, -0x1.2137860000000p+0f,  -0x1.4400b00000000p-1f,
    -0x1.be351c0000000p-4f, 0x1.a3be960000000p-6f,   -0x1.20f3aa0000000p-8f,
    0x1.081b3e0000000p-11f, -0x1.0f73800000000p-15f, 0x1.a43eac0000000p-21f};
// relative error 2^-29.3
inline constexpr float kPhiTailF[] = {
    0x1.69cee60000000p-1f,   -0x1.bc19ca0000000p-2f,  0x1.0e4f580000000p-3f,  0x1.2ebb500000000p-7f,
    -0x1.0c88ca0000000p-6f,  -0x1.a8961c0000000p-10f, 0x1.4cd2480000000p-9f,  0x1.8256980000000p-11f,
    -0x1.5d86320000000p-12f, -0x1.cd49a20000000p-13f, 0x1.1bcb600000000p-17f, 0x1.9ad33c0000000p-16f};
// relative error 2^-30.3
inline constexpr float kPhiF[] = {0x1.9884540000000p-2f,   -0x1.1058320000000p-4f, 0x1.46ce3a0000000p-7f,
                                  -0x1.36fb580000000p-10f, 0x1.dbd8300000000p-14f, -0x1.004c7c0000000p-17f};
// relative error 2^-59.8
inline constexpr double kAsinD[] = {0x1.5555555555578p-3, 0x1.333333332df1dp-4, 0x1.6db6db722af52p-5,
                                    0x1.f1c71a8bca50bp-6, 0x1.6e8bdfe17265ep-6, 0x1.1c49de5cb2efcp-6,
                                    0x1.ca213c1759024p-7, 0x1.7577cc6d708e1p-7, 0x1.618970e472532p-7,
                                    0x1.e16d1f69b6971p-9, 0x1.64fd12801eebbp-6, -0x1.59f03e3929094p-6,
                                    0x1.0be2a885d6877p-5};
// relative error 2^-64.2
inline constexpr double kAtanD[] = {-0x1.5555555555554p-2, 0x1.99999999996b2p-3,  -0x1.2492492477d1ep-3,
                                    0x1.c71c71b83a68ap-4,  -0x1.745d14d5f7e32p-4, 0x1.3b13705077e7ap-4,
                                    -0x1.110c8e4fa684ap-4, 0x1.e173dc92ff252p-5,  -0x1.ab8838b7b37c3p-5,
                                    0x1.7114a26096cc3p-5,  -0x1.128b159c34a84p-5, 0x1.f31ea1858197cp-7};
// relative error 2^-68.7
inline constexpr double kErfD[] = {0x1.06eba8214db69p-3,   -0x1.812746b0379e7p-2,  0x1.ce2f21a042bddp-4,
                                   -0x1.b82ce3128899bp-6,  0x1.565bcd0e64ab2p-8,   -0x1.c02db3fed8e3cp-11,
                                   0x1.f9a326bfb4591p-14,  -0x1.f4d255e101f55p-17, 0x1.b9e64d0335638p-20,
                                   -0x1.5f6d6b1c772e2p-23, 0x1.fc4113dc35af1p-27,  -0x1.4e55bc7f8184cp-30,
                                   0x1.7ecb9a3e0b333p-34,  -0x1.2928059727208p-38};
// relative error 2^-65.6
inline constexpr double kLogTailD[] = {0x1.9999999999999p-2, 0x1.24924924926f5p-2, 0x1.c71c71c6933c3p-3,
                                       0x1.745d17b23e995p-3, 0x1.3b1383cc85f1fp-3, 0x1.111be59f76310p-3,
                                       0x1.def0633ae128bp-4, 0x1.e51fb3d84ab90p-4};
// relative error 2^-64.0
inline constexpr double kErfcxD[] = {
    0x1.18932bf08e154p+0,   -0x1.f3fe31ecb49bfp-1,  0x1.8be202d26c705p-1,   -0x1.14eacb1ad0349p-1,
    0x1.52cac2371017bp-2,   -0x1.645fd8a4bb87fp-3,  0x1.38dbd2c8e1debp-4,   -0x1.b00c052c8521ap-6,
    0x1.908f4723b11d6p-8,   -0x1.269b5157c03cep-12, -0x1.dd28445785ee8p-12, 0x1.72cd9da96c153p-13,
    -0x1.e7ed2640d7a4fp-19, -0x1.3c6d8848ef240p-16, 0x1.3b138d5f10e9ep-18,  0x1.7e1799915f9a1p-20,
    -0x1.c70c15a335c9bp-21, -0x1.3f222a11af8d3p-24, 0x1.0f1b84c59d2c2p-23,  -0x1.dfc4e4ba27dd4p-33,
    -0x1.28b6c9ddbc772p-26, 0x1.31844631dc6e7p-31,  0x1.cb9c34e3b3507p-30};
// relative error 2^-60.7
inline constexpr double kErfinvLowD[] = {
    0x1.9fa072ed72dbbp+0,   0x1.eedbebdce73e6p-3,   -0x1.780def1d3f28ep-8,  -0x1.b6666b152b329p-11,
    0x1.9912c04a410edp-13,  -0x1.aab13d1c61101p-17, -0x1.d539ca07e488dp-20, 0x1.e32b0d5777d4dp-22,
    -0x1.96f822ccae841p-26, -0x1.77b3a4c47ceefp-28, 0x1.315594a1777f7p-30,  -0x1.146af8041f86dp-35,
    -0x1.30dce5adf7159p-36, 0x1.7bd1b04cf241ap-39,  0x1.cf455e4db8520p-48,  -0x1.dc4f0d14f4922p-45,
    0x1.c5c4b13f4f88bp-48,  0x1.3231d56534164p-52,  -0x1.6bb175f53a961p-53, 0x1.fef23375973c3p-57,
    0x1.f217c1d9aa0dbp-60,  -0x1.113449a0ca203p-61, 0x1.626c10ea6b2dfp-68,  0x1.14e115d023554p-67,
    -0x1.4c3a8a648ee61p-72, -0x1.0a4fa32acda70p-74};
// relative error 2^-60.0
inline constexpr double kErfinvMidD[] = {
    0x1.844e340984c07p+1,   0x1.0133861c5d96bp+0,   0x1.877527b86aa6dp-8,   -0x1.196c225e9bba7p-8,
    0x1.82c51946c7a51p-9,   -0x1.053a669d3f423p-9,  0x1.1ab5d10a8d52fp-10,  -0x1.77261ff34787fp-12,
    -0x1.9ba1ee479e770p-17, 0x1.886d6fe39b3efp-14,  -0x1.c122256515427p-15, 0x1.4ae1ccc423eb6p-17,
    0x1.8932c8c8a0c97p-18,  -0x1.504b743a53803p-18, 0x1.7c389532e73aap-20,  0x1.cff8f09201719p-23,
    -0x1.84ba8de441d23p-22, 0x1.2faf7dca46c14p-23,  -0x1.0d0fff65fa7a8p-28, -0x1.74b90fde11eebp-26,
    0x1.18b3fc286b1aap-27,  -0x1.2298b44d2a838p-31};
// relative error 2^-61.0
inline constexpr double kErfinvHighD[] = {
    0x1.3664ddd1ad7fbp+2,  0x1.02a30d1fba10bp+0,   -0x1.22ea5df1cbca5p-13, -0x1.c2f36aa151c51p-13,
    0x1.3ebf4efb1f6a6p-14, -0x1.4a34904927ddap-16, 0x1.2fbcfd7c8a016p-18,  -0x1.0a90313910bb7p-20,
    0x1.ebe3283cae701p-23, -0x1.2238ff871df99p-24, 0x1.f2880c327eb20p-26,  -0x1.055ec8dc0e68dp-26,
    0x1.0cc407faa6af9p-27, -0x1.e5b2888ac6759p-29, 0x1.69828602a5473p-30,  -0x1.a2fd1a71ee7f3p-32,
    0x1.343d22ad7133fp-34, 0x1.0656c9f6d7379p-36,  -0x1.6900f4224ed4dp-36, 0x1.9ab18558fc4eep-38};
// 2/pi: 64 zero bits, then its 1280 leading fraction bits, most significant word first
inline constexpr unsigned long long kTwoOverPi[] = {
    0x0000000000000000, 0xa2f9836e4e441529, 0xfc2757d1f534ddc0, 0xdb6295993c439041, 0xfe5163abdebbc561,
    0xb7246e3a424dd2e0, 0x06492eea09d1921c, 0xfe1deb1cb129a73e, 0xe88235f52ebb4484, 0xe99c7026b45f7e41,
    0x3991d639835339f4, 0x9c845f8bbdf9283b, 0x1ff897ffde05980f, 0xef2f118b5a0a6d1f, 0x6d367ecf27cb09b7,
    0x4f463f669e5fea2d, 0x7527bac7ebe5f17b, 0x3d0739f78a5292ea, 0x6bfb5fb11f8d5d08, 0x56033046fc7b6bab,
    0xf0cfbc209af4361d};

}  // namespace mc::simd::coef
