// Complex functions where a part is infinite or NaN: the values of C99's Annex G, which the array API
// standard asks for. One text for engines that compile it and for one that writes it into its generated
// programs: whoever includes it says what MC_SHARED_CODE(...) becomes, and defines the type Z {double re,
// im}, MC_SPECIAL (what stands before a function), kInf and kNaN. Functions are called with at least one part
// that is not finite. Sines and cosines give signs only. No preprocessor lines and no comments inside.
MC_SHARED_CODE(
    MC_SPECIAL bool ends(double v) { return v != v || v == kInf || v == -kInf; }

    MC_SPECIAL Z special_exp(double x, double y) {
      if (x == kInf && y == 0) return Z{x, y};
      if (x == kInf) return ends(y) ? Z{x, kNaN} : Z{copysign(kInf, cos(y)), copysign(kInf, sin(y))};
      if (x == -kInf) return ends(y) ? Z{0.0, 0.0} : Z{copysign(0.0, cos(y)), copysign(0.0, sin(y))};
      return Z{kNaN, x != x && y == 0 ? y : kNaN};
    }

    MC_SPECIAL Z special_expm1(double x, double y) {
      if (x == -kInf) return Z{-1.0, ends(y) ? 0.0 : copysign(0.0, sin(y))};
      return special_exp(x, y);
    }

    MC_SPECIAL Z special_log(double x, double y) {
      const bool large = x == kInf || x == -kInf || y == kInf || y == -kInf;
      return Z{large ? kInf : kNaN, x != x || y != y ? kNaN : atan2(y, x)};
    }

    MC_SPECIAL Z special_log2(double x, double y) {
      const Z r = special_log(x, y);
      return Z{r.re, r.im * 1.4426950408889634};
    }

    MC_SPECIAL Z special_sqrt(double x, double y) {
      if (y == kInf || y == -kInf) return Z{kInf, y};
      if (x == kInf) return Z{x, y != y ? kNaN : copysign(0.0, y)};
      if (x == -kInf) return Z{y != y ? kNaN : 0.0, copysign(kInf, y)};
      return Z{kNaN, kNaN};
    }

    MC_SPECIAL Z special_sinh(double x, double y) {
      if (x == kInf || x == -kInf) {
        if (y == 0) return Z{x, y};
        return ends(y) ? Z{x, kNaN} : Z{cos(y) < 0 ? -x : x, copysign(kInf, sin(y))};
      }
      if (x == 0) return Z{x, kNaN};
      return Z{kNaN, x != x && y == 0 ? y : kNaN};
    }

    MC_SPECIAL Z special_cosh(double x, double y) {
      if (x == kInf || x == -kInf) {
        if (y == 0) return Z{kInf, x < 0 ? -y : y};
        return ends(y) ? Z{kInf, kNaN} : Z{copysign(kInf, cos(y)), sin(y) < 0 ? -x : x};
      }
      return Z{kNaN, x == 0 || (x != x && y == 0) ? 0.0 : kNaN};
    }

    MC_SPECIAL Z special_tanh(double x, double y) {
      if (x == kInf || x == -kInf) return Z{copysign(1.0, x), ends(y) ? 0.0 : copysign(0.0, sin(y) * cos(y))};
      if (x == 0) return Z{x, kNaN};
      return Z{kNaN, x != x && y == 0 ? y : kNaN};
    }

    MC_SPECIAL Z special_asinh(double x, double y) {
      const bool wide = x == kInf || x == -kInf, high = y == kInf || y == -kInf;
      if (wide) return Z{x, y != y ? kNaN : copysign(high ? 0.7853981633974483 : 0.0, y)};
      if (high) return Z{copysign(kInf, x), x != x ? kNaN : copysign(1.5707963267948966, y)};
      return Z{kNaN, x != x && y == 0 ? y : kNaN};
    }

    MC_SPECIAL Z special_acos(double x, double y) {
      const bool wide = x == kInf || x == -kInf, high = y == kInf || y == -kInf;
      if (wide || high)
        return Z{x != x || y != y ? kNaN : atan2(fabs(y), x),
                 copysign(kInf, y != y ? 1.0 : -copysign(1.0, y))};
      return Z{x == 0 ? 1.5707963267948966 : kNaN, kNaN};
    }

    MC_SPECIAL Z special_atanh(double x, double y) {
      const bool wide = x == kInf || x == -kInf, high = y == kInf || y == -kInf;
      if (wide || high) return Z{copysign(0.0, x), y != y ? kNaN : copysign(1.5707963267948966, y)};
      return Z{x == 0 ? x : kNaN, kNaN};
    }

    MC_SPECIAL Z special_sin(double x, double y) {
      const Z r = special_sinh(-y, x);
      return Z{r.im, -r.re};
    }

    MC_SPECIAL Z special_cos(double x, double y) { return special_cosh(-y, x); }

    MC_SPECIAL Z special_tan(double x, double y) {
      const Z r = special_tanh(-y, x);
      return Z{r.im, -r.re};
    }

    MC_SPECIAL Z special_asin(double x, double y) {
      const Z r = special_asinh(-y, x);
      return Z{r.im, -r.re};
    }

    MC_SPECIAL Z special_atan(double x, double y) {
      const Z r = special_atanh(-y, x);
      return Z{r.im, -r.re};
    })
