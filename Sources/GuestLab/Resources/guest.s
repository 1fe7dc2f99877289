# A guest in one boot sector: it beats on the serial port, writes to memory at a set rate and checks what it wrote.
#
#   as --32 --defsym NAME=VALUE ... -o guest.o guest.s      every NAME below must be given
#   ld -m elf_i386 -Ttext 0x7c00 -e start --oformat binary -o guest.img guest.o
#
#   PIT_DIVISOR       timer period in units of 1/1193182 s, at most 65535
#   TICKS_PER_BEAT    timer periods between two heartbeats
#   PAGES_PER_TICK    pages to write in each period, in 1/256 page
#   UNLIMITED         1: write as fast as the processor can, whatever PAGES_PER_TICK says
#   DIRTY_PAGES       the range that is written to again and again
#   FILL_PAGES        the range that is filled once, before the first heartbeat, with bytes that do not compress
#   LAST_BEAT         write LAST_VALUE to LAST_PORT after this heartbeat; 0: never
#   LAST_PORT, LAST_VALUE  what ends it: the power management's register with "soft off" or "suspend to RAM", or pvpanic's
#   DISK_SECTORS      write each heartbeat's number all over the sector of that number, modulo this, of the first IDE disk; 0: never
#
# On COM1: "hb N" each heartbeat, N = 1, 2, 3 ...; "bad N" when page N of the range does not hold what was written to it.
#
# Both ranges begin at BASE. The first word of a page in the dirty range is the number of the pass that wrote it last.
# All time is the PIT's, which stands still while the virtual machine does.

        .set BASE, 0x200000
        .set PAGE, 4096
        .set LINE_STATUS, 0x3fd
        .set TRANSMIT, 0x3f8

        .set ticks, 0x7e00                      # variables stand behind the boot sector
        .set beats, 0x7e04
        .set credit, 0x7e08                     # pages that may be written by now, in 1/256 page
        .set idt, 0x8000
        .set VECTOR, 0x20

        .code16
        .globl start
start:  cli
        cld
        xorw    %ax, %ax
        movw    %ax, %ds
        inb     $0x92, %al                      # address line 20
        orb     $2, %al
        outb    %al, $0x92
        lgdtl   gdtr
        movl    %cr0, %eax
        orb     $1, %al
        movl    %eax, %cr0
        ljmpl   $8, $protected

        .code32
protected:
        movw    $16, %ax
        movw    %ax, %ds
        movw    %ax, %es
        movw    %ax, %ss
        movl    $start, %esp

        .if FILL_PAGES
        movl    $BASE, %edi
        movl    $FILL_PAGES * (PAGE / 4), %ecx
1:      imull   $1664525, %eax, %eax            # a linear congruential generator
        addl    $1013904223, %eax
        stosl
        loop    1b
        .endif

        .if DIRTY_PAGES
        movl    $BASE, %edi
        movl    $DIRTY_PAGES, %ecx
1:      andl    $0, (%edi)                      # "written last in pass 0"
        addl    $PAGE, %edi
        loop    1b
        .endif

        movl    $TICKS_PER_BEAT, ticks
        xorl    %ebx, %ebx                      # number of the pass
        movl    %ebx, beats
        movl    %ebx, credit

        movl    $0x80000 + tick, idt + 8 * VECTOR
        movl    $0x8e00, idt + 8 * VECTOR + 4   # a 32-bit interrupt gate
        lidtl   idtr

        movb    $0x11, %al                      # interrupt controller: the timer alone, at VECTOR
        outb    %al, $0x20
        movb    $VECTOR, %al
        outb    %al, $0x21
        movb    $4, %al
        outb    %al, $0x21
        movb    $1, %al
        outb    %al, $0x21
        movb    $0xfe, %al
        outb    %al, $0x21

        movb    $0x34, %al                      # timer: rate generator
        outb    %al, $0x43
        movb    $PIT_DIVISOR & 0xff, %al
        outb    %al, $0x40
        movb    $PIT_DIVISOR >> 8, %al
        outb    %al, $0x40

        .if DIRTY_PAGES
pass:   incl    %ebx
        movl    $BASE, %edi
page:
        .if UNLIMITED
        sti
        .else
        cli
        cmpl    $256, credit
        jae     1f
        sti                                     # holds off the interrupt until hlt sleeps: no tick is slept through
        hlt
        jmp     page
1:      subl    $256, credit
        sti
        .endif
        leal    -1(%ebx), %eax
        cmpl    %eax, (%edi)
        je      2f
        cli
        leal    -BASE(%edi), %eax
        shrl    $12, %eax
        movl    $bad, %esi
        call    print
        sti
2:      movl    %ebx, (%edi)
        addl    $PAGE, %edi
        cmpl    $BASE + DIRTY_PAGES * PAGE, %edi
        jb      page
        jmp     pass
        .else
idle:   sti
        hlt
        jmp     idle
        .endif

tick:   pushal
        movb    $0x20, %al                      # end of interrupt
        outb    %al, $0x20
        addl    $PAGES_PER_TICK, credit
        jns     1f
        subl    $PAGES_PER_TICK, credit         # a guest that cannot keep up must not wrap around to none
1:      decl    ticks
        jnz     2f
        movl    $TICKS_PER_BEAT, ticks
        incl    beats
        movl    beats, %eax
        movl    $heartbeat, %esi
        call    print
        .if DISK_SECTORS
        movl    beats, %eax
        xorl    %edx, %edx
        movl    $DISK_SECTORS, %ecx
        divl    %ecx
        movl    %edx, %ebx                      # number of the sector
        movw    $0x1f2, %dx
        movb    $1, %al                         # one of them
        outb    %al, %dx
        movl    %ebx, %eax
1:      incl    %edx
        outb    %al, %dx
        shrl    $8, %eax
        cmpb    $0xf5, %dl
        jne     1b
        incl    %edx
        movb    $0xe0, %al
        outb    %al, %dx
        incl    %edx
        movb    $0x30, %al                      # write
        outb    %al, %dx
1:      inb     %dx, %al
        testb   $8, %al                         # it wants data
        jz      1b
        movw    $0x1f0, %dx
        movl    $128, %ecx
        movl    beats, %eax
1:      outl    %eax, %dx
        loop    1b
        movw    $0x1f7, %dx
1:      inb     %dx, %al
        testb   %al, %al                        # busy
        js      1b
        .endif
        .if LAST_BEAT
        cmpl    $LAST_BEAT, beats
        jne     2f
        movw    $LAST_PORT, %dx
        movw    $LAST_VALUE, %ax
        outw    %ax, %dx
        .endif
2:      popal
        iret

# Prints the text at esi, the number in eax and a line end. Interrupts are off. Changes eax, ecx, edx, esi.
print:  pushl   $'\n'
        movl    $10, %ecx
1:      xorl    %edx, %edx
        divl    %ecx
        addl    $'0', %edx
        pushl   %edx
        testl   %eax, %eax
        jnz     1b
2:      lodsb
        testb   %al, %al
        jz      3f
        call    send
        jmp     2b
3:      popl    %eax
        call    send
        cmpb    $'\n', %al
        jne     3b
        ret

# Sends the character in al. Changes edx.
send:   movb    %al, %ah
        movw    $LINE_STATUS, %dx
1:      inb     %dx, %al
        testb   $0x20, %al
        jz      1b
        movb    %ah, %al
        movw    $TRANSMIT, %dx
        outb    %al, %dx
        ret

heartbeat:
        .asciz  "hb "
bad:    .asciz  "bad "

        .p2align 3
gdt:    .quad   0
        .quad   0x00cf9b000000ffff              # code: 4 GiB from 0
        .quad   0x00cf93000000ffff              # data: likewise
gdtr:   .word   gdtr - gdt - 1
        .long   gdt
idtr:   .word   8 * VECTOR + 7
        .long   idt

        .org    start + 510
        .word   0xaa55
