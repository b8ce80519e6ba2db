// Made by tests/golden/math_coefficients.py: minimax coefficients from the lowest power to the highest.
#pragma once

namespace mc::simd::coef {

// relative error 2^-28.3
inline constexpr float kExpF[] = {0x1.0000000000000p-1f, 0x1.55548e0000000p-3f, 0x1.5554600000000p-5f, 0x1.123b580000000p-7f, 0x1.6db2ca0000000p-10f};
// relative error 2^-61.7
inline constexpr double kExpD[] = {0x1.0000000000000p-1, 0x1.5555555555559p-3, 0x1.555555555555ap-5, 0x1.111111110f6b0p-7, 0x1.6c16c16c14447p-10, 0x1.a01a01afe4b4cp-13, 0x1.a01a01b0bb5b0p-16, 0x1.71ddf85442f91p-19, 0x1.27e4c5947e685p-22, 0x1.af5ebe97bdfd6p-26, 0x1.1f957a254a1c3p-29};
// relative error 2^-30.4
inline constexpr float kLogF[] = {0x1.5555460000000p-2f, -0x1.ffffee0000000p-3f, 0x1.99a5460000000p-3f, -0x1.5562dc0000000p-3f, 0x1.2332bc0000000p-3f, -0x1.fb440a0000000p-4f, 0x1.e651de0000000p-4f, -0x1.e2e5540000000p-4f, 0x1.1b3ad40000000p-4f};
// relative error 2^-62.3
inline constexpr double kLogD[] = {0x1.5555555555555p-1, 0x1.9999999999b9ep-2, 0x1.2492492456aabp-2, 0x1.c71c722a09951p-3, 0x1.745cebcb95468p-3, 0x1.3b1e825e3c7c3p-3, 0x1.0f8a64f67e34cp-3, 0x1.0ddd1f8ec88e1p-3};
// relative error 2^-37.6
inline constexpr float kSinF[] = {-0x1.5555560000000p-3f, 0x1.1111080000000p-7f, -0x1.a00f940000000p-13f, 0x1.6cd6020000000p-19f};
// relative error 2^-43.2
inline constexpr float kCosF[] = {0x1.5555560000000p-5f, -0x1.6c16b80000000p-10f, 0x1.a011180000000p-16f, -0x1.2429040000000p-22f};
// relative error 2^-68.8
inline constexpr double kSinD[] = {-0x1.5555555555555p-3, 0x1.111111111110bp-7, -0x1.a01a01a018ab4p-13, 0x1.71de3a53356c6p-19, -0x1.ae645292e3a8ap-26, 0x1.61208f313f16cp-33, -0x1.aaa37e7299959p-41};
// relative error 2^-75.2
inline constexpr double kCosD[] = {0x1.5555555555555p-5, -0x1.6c16c16c16c10p-10, 0x1.a01a01a018dc0p-16, -0x1.27e4fb75fa98cp-22, 0x1.1eed8ca064d38p-29, -0x1.9393347fdc844p-37, 0x1.aac3f60b39402p-45};
// relative error 2^-32.6
inline constexpr float kTanhF[] = {-0x1.5555540000000p-2f, 0x1.11106c0000000p-3f, -0x1.b9ef800000000p-5f, 0x1.6394f40000000p-6f, -0x1.0c21c20000000p-7f, 0x1.197d220000000p-9f};
// relative error 2^-29.6
inline constexpr float kErfF[] = {0x1.06eba80000000p-3f, -0x1.81273e0000000p-2f, 0x1.ce2cf80000000p-4f, -0x1.b7f90a0000000p-6f, 0x1.54059c0000000p-8f, -0x1.a3f6600000000p-11f, 0x1.49686e0000000p-14f};
// relative error 2^-34.9
inline constexpr float kLogErfcF[] = {0x1.cf24ac0000000p-13f, -0x1.2137860000000p+0f, -0x1.4400b00000000p-1f, -0x1.be351c0000000p-4f, 0x1.a3be960000000p-6f, -0x1.20f3aa0000000p-8f, 0x1.081b3e0000000p-11f, -0x1.0f73800000000p-15f, 0x1.a43eac0000000p-21f};
// relative error 2^-29.3
inline constexpr float kPhiTailF[] = {0x1.69cee60000000p-1f, -0x1.bc19ca0000000p-2f, 0x1.0e4f580000000p-3f, 0x1.2ebb500000000p-7f, -0x1.0c88ca0000000p-6f, -0x1.a8961c0000000p-10f, 0x1.4cd2480000000p-9f, 0x1.8256980000000p-11f, -0x1.5d86320000000p-12f, -0x1.cd49a20000000p-13f, 0x1.1bcb600000000p-17f, 0x1.9ad33c0000000p-16f};
// relative error 2^-30.3
inline constexpr float kPhiF[] = {0x1.9884540000000p-2f, -0x1.1058320000000p-4f, 0x1.46ce3a0000000p-7f, -0x1.36fb580000000p-10f, 0x1.dbd8300000000p-14f, -0x1.004c7c0000000p-17f};
// 2/pi: 64 zero bits, then its 1280 leading fraction bits, most significant word first
inline constexpr unsigned long long kTwoOverPi[] = {0x0000000000000000, 0xa2f9836e4e441529, 0xfc2757d1f534ddc0, 0xdb6295993c439041, 0xfe5163abdebbc561, 0xb7246e3a424dd2e0, 0x06492eea09d1921c, 0xfe1deb1cb129a73e, 0xe88235f52ebb4484, 0xe99c7026b45f7e41, 0x3991d639835339f4, 0x9c845f8bbdf9283b, 0x1ff897ffde05980f, 0xef2f118b5a0a6d1f, 0x6d367ecf27cb09b7, 0x4f463f669e5fea2d, 0x7527bac7ebe5f17b, 0x3d0739f78a5292ea, 0x6bfb5fb11f8d5d08, 0x56033046fc7b6bab, 0xf0cfbc209af4361d};

}  // namespace mc::simd::coef
