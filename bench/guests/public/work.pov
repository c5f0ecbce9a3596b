// Glass and a checkered floor: reflection, refraction, shadows.
global_settings { assumed_gamma 1.0 max_trace_level 8 }
camera { location <0, 2, -6> look_at <0, 1, 0> }
light_source { <6, 9, -8> color rgb 1 }
light_source { <-7, 5, -3> color rgb <0.3, 0.4, 0.6> }
plane { y, 0 pigment { checker color rgb 0.9 color rgb 0.2 } finish { reflection 0.2 } }
#declare I = 0;
#while (I < 12)
  sphere {
    <3 * cos(I), 0.6 + 0.1 * I, 3 * sin(I)>, 0.6
    pigment { color rgbf <0.9, 0.5 + 0.04 * I, 0.6, 0.7> }
    finish { specular 0.6 reflection 0.3 }
    interior { ior 1.4 }
  }
  #declare I = I + 1;
#end
torus { 1.5, 0.3 translate 1.2 * y pigment { marble color_map { [0 color rgb 0.2] [1 color rgb 1] } } }
