"""Devicetrees as Zephyr finishes them, cut down to what is read."""

AN547 = """
/dts-v1/;
/ {
    #address-cells = <1>; #size-cells = <1>;
    chosen {
        zephyr,console = &uart0; zephyr,sram = &dtcm; zephyr,flash = &itcm;
        mmoe,experts = &experts; mmoe,kv = &isram; mmoe,slots = &isram;
    };
    cpus { #address-cells = <1>; #size-cells = <0>; cpu@0 { compatible = "arm,cortex-m55"; reg = <0>; }; };
    itcm: itcm@10000000 { compatible = "zephyr,memory-region"; reg = <0x10000000 0x80000>; };
    dtcm: dtcm@30000000 { compatible = "zephyr,memory-region"; reg = <0x30000000 0x80000>; };
    isram: isram@31000000 { compatible = "zephyr,memory-region", "mmio-sram"; reg = <0x31000000 0x400000>; };
    qspi: flash@38000000 {
        compatible = "soc-nv-flash"; reg = <0x38000000 0x800000>; erase-block-size = <4096>;
        partitions {
            compatible = "fixed-partitions"; #address-cells = <1>; #size-cells = <1>;
            experts: partition@10000 { reg = <0x10000 0x100000>; };
        };
    };
    soc { #address-cells = <1>; #size-cells = <1>; ranges; uart0: uart@1 { reg = <0x1 0x1>; }; };
};
"""

# One flash with the program and the experts in it, behind a bus that moves addresses; a Cortex-M4
ONE_FLASH = """
/dts-v1/;
/ {
    #address-cells = <1>; #size-cells = <1>;
    chosen { zephyr,sram = &sram0; zephyr,flash = &flash0; mmoe,experts = &experts; };
    cpus { #address-cells = <1>; #size-cells = <0>; cpu@0 { compatible = "arm,cortex-m4f"; reg = <0>; }; };
    soc {
        #address-cells = <1>; #size-cells = <1>; ranges = <0x0 0x8000000 0x1000000>;
        flash-controller@0 {
            compatible = "vendor,flash"; #address-cells = <1>; #size-cells = <1>; ranges; reg = <0x0 0x400>;
            flash0: flash@0 {
                compatible = "soc-nv-flash"; reg = <0x0 0x100000>; write-block-size = <4>; erase-block-size = <2048>;
                partitions {
                    compatible = "fixed-partitions"; #address-cells = <1>; #size-cells = <1>;
                    experts: partition@80000 { reg = <0x80000 0x80000>; };
                };
            };
        };
    };
    sram0: memory@20000000 { compatible = "mmio-sram"; reg = <0x20000000 0x20000>; };
};
"""

# The experts behind a driver: a SPI flash
SPI_FLASH = """
/dts-v1/;
/ {
    #address-cells = <1>; #size-cells = <1>;
    chosen { zephyr,sram = &sram0; zephyr,flash = &flash0; mmoe,experts = &experts; };
    cpus { #address-cells = <1>; #size-cells = <0>; cpu@0 { compatible = "arm,cortex-m3"; reg = <0>; }; };
    flash0: flash@0 { compatible = "soc-nv-flash"; reg = <0x0 0x400000>; };
    sram0: memory@20000000 { compatible = "mmio-sram"; reg = <0x20000000 0x20000>; };
    spi@40000000 {
        #address-cells = <1>; #size-cells = <0>; reg = <0x40000000 0x1000>;
        nor: nor@0 {
            compatible = "jedec,spi-nor"; reg = <0>; size = <0x4000000>;
            partitions {
                compatible = "fixed-partitions"; #address-cells = <1>; #size-cells = <1>;
                experts: partition@1000 { reg = <0x1000 0x200000>; };
            };
        };
    };
};
"""

# As ONE_FLASH, but the partition is the simulator's
SIMULATOR = (
    SPI_FLASH.replace('"jedec,spi-nor"', '"soc-nv-flash"')
    .replace("spi@40000000 {", 'simulator { compatible = "zephyr,sim-flash";')
    .replace("#size-cells = <0>; reg = <0x40000000 0x1000>;", "#size-cells = <1>;")
    .replace("reg = <0>; size = <0x4000000>;", "reg = <0x0 0x400000>;")
)
